"""What `sweep_ann.py` and `sweep_svm.py` share: a sweep from its command line to its last trial.

    SEARCH = Search("svm", train_svm.Config, train_svm.train, space, configure)
    run(SEARCH, Settings(trials=40))

A sweep is one or more worker processes that run Optuna's `study.optimize` on one study, until it has its
total of trials. The same command with the same database joins in, on any machine. Optuna's heartbeats tell
when a process was killed; its trial is queued again. With n workers the total may be exceeded by n - 1.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import toolkit
from toolkit import commandline, datasets, tracking, trials
from toolkit.files import InputError
from toolkit.search import GRID_POINTS, PRUNERS, SAMPLERS, Plan, Search, Settings, prepare
from toolkit.trials import trial_config
from toolkit.worker import Worker, best_so_far, load_sets, threads

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

    def say(text: str) -> None:
        if not settings.quiet:
            print(text, flush=True)

    if settings.engine == "wandb":
        from toolkit import wandb_sweep

        wandb_sweep.check_account()
    with _open(plan) as study:
        say(
            f"Study {plan.study} in {trials.shown_url(settings.db)}: {trials.count_ended(study)} of "
            f"{settings.trials} trials are there; searching for {' and '.join(plan.about['objectives'])}."
        )
        if settings.wandb == "online" or (settings.wandb == "auto" and tracking.has_wandb_key()):
            say(f"Weights & Biases: a run for each trial, in the group {plan.study}.")
        # Once here: missing data is said once, and a download happens once.
        load_sets(plan)
        if settings.engine == "wandb":
            wandb_sweep.find(study, plan)
        _supervise(search, settings)
        states = trials.count_states(study)
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        say(f"Study {plan.study}: {counts}{best_so_far(study)}.")
    if not states["finished"] and states["failed"]:
        raise InputError(f"no trial of the study {plan.study!r} finished; `pareto.py --csv FILE` says why.")
    say(f"Next: python pareto.py{trials.database_flag(settings.db)}")


def work(search: Search, settings: Settings) -> None:
    """Run trials in this process until the study has its total."""
    plan = prepare(search, settings)
    with _open(plan) as study:
        worker = Worker(plan, study)
        if settings.engine == "optuna":
            worker.run()
        else:
            from toolkit import wandb_sweep

            wandb_sweep.run(worker, study)


@contextlib.contextmanager
def _open(plan: Plan) -> Iterator[optuna.Study]:
    """Open the study, or make it and queue its first trial.

    Raises InputError when a name has other values than in the trials that the study has.
    """
    from optuna.distributions import check_distribution_compatibility

    with trials.open_study(plan.settings.db, plan.study, create=plan.about) as study:
        there = study.get_trials(deepcopy=False)
        for name, known in [pair for trial in there for pair in trial.distributions.items()]:
            try:
                check_distribution_compatibility(known, plan.space.get(name, (known,))[0])
            except ValueError:
                raise InputError(
                    f"the search space's entry {name!r} is not what the study {plan.study!r} was made with; "
                    "give another --study."
                ) from None
        if plan.start and not there:
            study.enqueue_trial(dict(plan.start), skip_if_exists=True)
        yield study


def _supervise(search: Search, settings: Settings) -> None:
    """Start the workers, replace those that a signal killed, and stop them all when asked to."""
    context = multiprocessing.get_context("spawn")
    if settings.workers > 1:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads(settings))))
    processes: list[Any] = []
    reasons, reason = context.Pipe(duplex=False)  # of workers that fail; the first one is said

    def start() -> None:
        with _sigint_held():  # in the new process, too, until it can answer
            processes.append(context.Process(target=_worker_process, args=(search, settings, reason)))
            processes[-1].start()

    def stop() -> None:
        for process in processes:
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGINT)

    status = 0
    spare = (trials.MAX_RETRY + 1) * settings.trials  # a worker that cannot even start must not go on forever
    try:
        for _ in range(settings.workers):
            start()
        while processes:
            multiprocessing.connection.wait([process.sentinel for process in processes])
            for ended in [process for process in processes if process.exitcode is not None]:
                processes.remove(ended)
                if ended.exitcode < 0 and spare and not status:
                    spare -= 1
                    print(f"signal {-ended.exitcode} killed a worker; starting another", file=sys.stderr)
                    start()
                elif ended.exitcode:
                    status = status or ended.exitcode
                    stop()
    except KeyboardInterrupt:
        stop()
        raise
    finally:
        for process in processes:
            process.join()
    if status == 130:
        raise KeyboardInterrupt
    if reasons.poll():
        raise InputError(reasons.recv())
    if status:
        sys.exit(2)


@contextlib.contextmanager
def _sigint_held() -> Iterator[None]:
    """Hold Ctrl-C back, here and in processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let it through
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _worker_process(search: Search, settings: Settings, reason: Any) -> None:
    """Run a worker in its own process, from its start to its exit code."""

    # Ctrl-C on a terminal reaches every process of the sweep, and the first one passes it on, too.
    def interrupt(number: int, frame: Any) -> None:
        try:
            toolkit.interrupt(number, frame)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        signal.signal(signal.SIGINT, interrupt)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work(search, settings)
    except KeyboardInterrupt:
        sys.exit(130)
    except (InputError, OSError) as error:
        reason.send(str(error))
        sys.exit(2)


def main(search: Search, description: str | None, argv: Sequence[str] | None = None) -> None:
    """Run the command line of a sweep."""
    arguments = vars(_parser(search, description).parse_args(argv))
    names = arguments.pop("objectives") or ["loss"]
    objectives = tuple(part for name in names for part in name.split(",") if part)
    on_wandb = arguments["engine"] == "wandb"
    if on_wandb and arguments["wandb"] not in ("online", "auto"):
        raise InputError(f"--engine wandb needs --wandb online: there is no {arguments['wandb']} sweep.")
    arguments["wandb"] = "online" if on_wandb else arguments["wandb"]
    if arguments["sweep_id"] and not on_wandb:
        raise InputError("--sweep-id belongs to --engine wandb.")
    run(search, Settings(**arguments, objectives=objectives))


def _parser(search: Search, description: str | None) -> commandline.Parser:
    parser = commandline.Parser(description)
    parser.set_defaults(**{**asdict(Settings(study=search.kind, wandb="auto")), "objectives": None})
    add = parser.add_argument
    add(
        "--trials",
        type=commandline.positive_int,
        metavar="N",
        help="trials that the study has in the end; those that it has already count",
    )
    add("--engine", choices=("optuna", "wandb"), help="who proposes trials: Optuna, or a sweep of W&B")
    add(
        "--sampler",
        choices=SAMPLERS,
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
    workers = "processes, which share the processor's cores"
    add("--workers", type=commandline.positive_int, metavar="N", help=workers)
    add("--seed", type=commandline.seed, metavar="N", help="of the search and of every training")
    add("--quiet", action="store_true", help="print errors only")
    record = parser.add_argument_group("record").add_argument
    record("--db", metavar="URL", help="database of the study: sqlite or postgresql")
    record("--study", metavar="NAME", help="name of the study")
    record(
        "--wandb",
        choices=tracking.WANDB_MODES,
        help="a run on Weights & Biases for every trial; auto: online when a key is set",
    )
    record("--sweep-id", metavar="ID", help="with --engine wandb: the sweep to join (default: the study's)")
    datasets.add_flags(parser)
    add(
        "--drawn",
        metavar="PATH",
        help="measure every trial on drawings, too (drawn_accuracy): recorded strokes, of which a test part "
        "is left out, or a folder of LABEL_anything.png",
    )
    return parser
