"""What `sweep_ann.py` and `sweep_svm.py` share: a sweep from its command line to its last trial.

    SEARCH = Search("svm", train_svm.Config, train_svm.train, space, configure)
    run(SEARCH, Settings(trials=40))

A sweep is one or more worker processes that run Optuna's `study.optimize` on one study, until it has its
total of trials. The same command with the same database joins in, on any machine. Optuna's heartbeats tell
when a process was killed; its trial is queued again. With n workers the total may be exceeded by n - 1.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit import commandline, datasets, tracking, trials
from toolkit.files import InputError
from toolkit.search import GRID_POINTS, PRUNERS, SAMPLERS, Plan, Search, Settings, prepare
from toolkit.trials import trial_config
from toolkit.worker import Worker, best_so_far, load_sets

if TYPE_CHECKING:
    import optuna

__all__ = ["Search", "Settings", "main", "run", "trial_config", "work"]

# Read by the libraries of NumPy, PyTorch and joblib when they are loaded.
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "LOKY_MAX_CPU_COUNT",
)


def run(search: Search, settings: Settings) -> None:
    """Run a sweep to its total of trials, in worker processes that are replaced when a signal kills them.

    Raises
    ------
    InputError : a wrong setting, no data, no database, or no trial that finished.
    KeyboardInterrupt : Ctrl-C, after the workers have queued their trials again.
    """
    plan = prepare(search, settings)
    sweep_id = ""
    if settings.engine == "wandb":
        from toolkit import wandb_sweep

        wandb_sweep.check_account()
    with trials.open_study(settings.db, plan.study, create=plan.about) as study:
        _check_known_space(study, plan.space)
        if not settings.quiet:
            states = trials.count_states(study)
            ended = sum(states[state] for state in ("finished", "pruned", "failed"))
            print(
                f"Study {plan.study} in {trials.shown_url(settings.db)}: {ended} of {settings.trials} trials "
                f"are there; searching for {' and '.join(plan.about['objectives'])}.",
                flush=True,
            )
        # Once here: missing data is said once, and a download happens once.
        load_sets(search, settings)
        if settings.engine == "wandb":
            sweep_id = wandb_sweep.find(study, plan, settings.sweep_id)
        _queue_first(study, plan, settings)
    _supervise(search, settings, sweep_id)
    with trials.open_study(settings.db, plan.study) as study:
        states = trials.count_states(study)
        if not settings.quiet:
            counts = ", ".join(f"{count} {state}" for state, count in states.items())
            print(f"Study {plan.study}: {counts}{best_so_far(study)}.")
    if not states["finished"] and states["failed"]:
        raise InputError(f"no trial of the study {plan.study!r} finished; `pareto.py --csv FILE` says why.")
    if not settings.quiet:
        print(f"Next: python pareto.py{trials.database_flag(settings.db)}", flush=True)


def _queue_first(study: optuna.Study, plan: Plan, settings: Settings) -> None:
    if plan.start and settings.engine == "optuna" and not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(plan.start), skip_if_exists=True)


def _check_known_space(study: optuna.Study, space: Mapping[str, Any]) -> None:
    """Raise InputError when a name has other values than in the trials that the study has."""
    from optuna.distributions import check_distribution_compatibility

    for trial in study.get_trials(deepcopy=False):
        for name, known in trial.distributions.items():
            try:
                check_distribution_compatibility(known, space.get(name, (known,))[0])
            except ValueError:
                raise InputError(
                    f"the search space's entry {name!r} is not what the study {study.study_name!r} was made "
                    "with; give another --study."
                ) from None


def work(search: Search, settings: Settings, *, threads: int = 0, sweep_id: str = "") -> None:
    """Run trials in this process until the study has its total."""
    plan = prepare(search, settings)
    with trials.open_study(settings.db, plan.study, create=plan.about) as study:
        _queue_first(study, plan, settings)
        worker = Worker(search, settings, plan, study, threads or commandline.processors())
        if settings.engine == "optuna":
            worker.run()
        else:
            from toolkit import wandb_sweep

            wandb_sweep.run(worker, study, sweep_id)


def _supervise(search: Search, settings: Settings, sweep_id: str) -> None:
    """Start the workers, replace those that a signal killed, and stop them all when asked to."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, commandline.processors() // settings.workers)
    if settings.workers > 1:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    arguments = (search, settings, threads, sweep_id)

    def start() -> Any:
        process = context.Process(target=_worker_process, args=arguments)
        process.start()
        return process

    processes = [start() for _ in range(settings.workers)]
    spare = (trials.MAX_RETRY + 1) * settings.trials  # a worker that cannot even start must not go on forever
    status = 0
    try:
        while processes:
            multiprocessing.connection.wait([process.sentinel for process in processes])
            for process in [process for process in processes if process.exitcode is not None]:
                process.join()
                processes.remove(process)
                if process.exitcode < 0 and spare and not status:
                    spare -= 1
                    print(f"signal {-process.exitcode} killed a worker; starting another", file=sys.stderr)
                    processes.append(start())
                elif process.exitcode:
                    status = status or process.exitcode
                    _stop(processes)
    except KeyboardInterrupt:
        _stop(processes)
        raise
    finally:
        for process in processes:
            process.join()
    if status == 130:
        raise KeyboardInterrupt
    if status:
        sys.exit(2)


def _stop(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGINT)


def _worker_process(search: Search, settings: Settings, threads: int, sweep_id: str) -> None:
    """Run a worker in its own process, from its start to its exit code."""

    # Ctrl-C on a terminal reaches every process of the sweep, and the first one passes it on, too.
    def interrupt(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        signal.signal(signal.SIGINT, interrupt)
        work(search, settings, threads=threads, sweep_id=sweep_id)
    except KeyboardInterrupt:
        sys.exit(130)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        loky = sys.modules.get("joblib.externals.loky")
        if loky:
            # Its idle processes would keep this one from ending for five minutes.
            loky.get_reusable_executor().shutdown(kill_workers=True)


def main(search: Search, description: str | None, argv: Sequence[str] | None = None) -> None:
    """Run the command line of a sweep."""
    arguments = vars(_parser(search, description).parse_args(argv))
    # Weights & Biases records the command line of a run.
    sys.argv[:] = [trials.hide_password(word) for word in sys.argv]
    names = arguments.pop("objectives") or ["loss"]
    objectives = tuple(part for name in names for part in name.split(",") if part)
    on_wandb = arguments["engine"] == "wandb"
    wandb = arguments.pop("wandb") or ("online" if on_wandb else "disabled")
    if on_wandb and wandb not in ("online", "auto"):
        raise InputError(f"--engine wandb needs --wandb online: there is no {wandb} sweep.")
    if arguments["sweep_id"] and not on_wandb:
        raise InputError("--sweep-id belongs to --engine wandb.")
    run(search, Settings(**arguments, objectives=objectives, wandb="online" if on_wandb else wandb))


def _parser(search: Search, description: str | None) -> commandline.Parser:
    parser = commandline.Parser(description)
    add = parser.add_argument
    add(
        "--trials",
        type=commandline.positive_int,
        default=40,
        metavar="N",
        help="trials that the study has in the end; those that it has already count, so that the same "
        "command goes on after a kill",
    )
    add(
        "--engine",
        choices=("optuna", "wandb"),
        default="optuna",
        help="who proposes: Optuna on this machine, or a sweep of Weights & Biases",
    )
    add(
        "--sampler",
        choices=SAMPLERS,
        default="tpe",
        help="of Optuna: tpe and gp (Gaussian process) are Bayesian; grid tries all combinations, with "
        f"{GRID_POINTS} points on a continuous range, in random order",
    )
    add(
        "--objectives",
        nargs="+",
        metavar="METRIC",
        help="what to search for; several are searched for at once, without pruning (default: loss)",
    )
    if search.has_epochs:
        add(
            "--pruner",
            choices=PRUNERS,
            help="stops hopeless trials by their loss or accuracy on the validation split after each epoch "
            "(default: hyperband; none when that does not foretell the objective)",
        )
    add(
        "--workers",
        type=commandline.positive_int,
        default=1,
        metavar="N",
        help="processes, which share the processor's cores",
    )
    add("--seed", type=commandline.seed, default=0, metavar="N", help="of the search and of every training")
    add("--quiet", action="store_true", help="print errors only")
    _add_record_flags(parser, search)
    datasets.add_flags(parser)
    add(
        "--drawn",
        metavar="PATH",
        help="measure every trial on drawings, too (drawn_accuracy): recorded strokes, of which a test part "
        "is left out, or a folder of LABEL_anything.png",
    )
    return parser


def _add_record_flags(parser: commandline.Parser, search: Search) -> None:
    add = parser.add_argument_group("record").add_argument
    add("--db", default=trials.DEFAULT_DB, metavar="URL", help="database of the study: sqlite or postgresql")
    add("--study", default=search.kind, metavar="NAME", help="name of the study")
    add(
        "--wandb",
        choices=tracking.WANDB_MODES,
        help="a run of Weights & Biases for every trial (default: disabled; online with --engine wandb)",
    )
    add(
        "--sweep-id",
        metavar="ID",
        help="with --engine wandb: the sweep to join (default: the study's own, else a new one)",
    )
