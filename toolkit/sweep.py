"""What `sweep_ann.py` and `sweep_svm.py` share: a sweep from its command line to its last trial.

    SEARCH = Search("svm", SPACE, train)
    run(SEARCH, Settings(trials=40))

A sweep is one or more worker processes; each takes a trial from the study (`study.py`), trains, and writes
what came out (`worker.py`), until the study has its total. Which worker runs on which machine makes no
difference: the same command with the same database joins in.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier import Classifier, InputError
from toolkit import commandline, tracking
from toolkit import study as record
from toolkit.space import Space, normalise, read_space
from toolkit.study import trial_config
from toolkit.worker import Worker, best_line, load_drawn, load_sets, reason, wandb_project

if TYPE_CHECKING:
    from toolkit.datasets import ImageSet

__all__ = ["Search", "Settings", "main", "run", "trial_config", "work"]

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("hyperband", "median", "none")
# Metrics that a trial's choosing loss foretells: only a search for one of these can stop trials early.
FORETOLD = ("loss", "log_loss", "accuracy", "macro_precision", "macro_recall", "macro_f1")
# Read by the libraries of NumPy, PyTorch and joblib when they are loaded.
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "LOKY_MAX_CPU_COUNT",
)


def _load(split: str, **where: Any) -> ImageSet:
    from toolkit import datasets

    return datasets.load(split, **where)


def _same(parameters: dict[str, Any]) -> dict[str, Any]:
    return parameters


@dataclass(frozen=True)
class Search:
    """What one model brings to its sweep; module-level functions, for it goes to other processes.

    Attributes
    ----------
    name : of the model; also the study's, unless it is given.
    space : a sweep configuration, see `space.py`.
    train : train(train_set, validation_set, *, seed, run, **config) -> classifier, metrics.
    configure : a trial's parameters -> the keyword arguments of `train`.
    conditions : which parameters are relevant when, see `space.py`.
    start : parameters of the first trial, a hand-made configuration that the search has to beat; {} for none.
    epochs : whether training logs `val_loss` at every epoch, so that a trial can be stopped early.
    load : load(split, dataset=..., data=..., limit=...) -> images and labels.
    """

    name: str
    space: Mapping[str, Any]
    train: Callable[..., tuple[Classifier, dict[str, Any]]]
    configure: Callable[[dict[str, Any]], dict[str, Any]] = _same
    conditions: Mapping[str, Mapping[str, list[Any]]] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    epochs: bool = True
    load: Callable[..., Any] = _load


@dataclass(frozen=True)
class Settings:
    """A sweep's command line; `commandline.Parser`'s help says what each is."""

    trials: int = 40
    engine: str = "optuna"
    sampler: str = "tpe"
    pruner: str | None = None
    objectives: tuple[str, ...] = ()
    db: str = record.DEFAULT_DB
    study: str | None = None
    workers: int = 1
    seed: int = 0
    dataset: str = "mnist"
    data: str | None = None
    limit: int | None = None
    drawn: str | None = None
    wandb: str = "disabled"
    sweep_id: str | None = None
    quiet: bool = False


def run(search: Search, settings: Settings) -> None:
    """Run a sweep to its total of trials, in worker processes that are watched and replaced when they die.

    Raises
    ------
    InputError : a wrong setting, a space that the engine cannot express, no data, no database.
    KeyboardInterrupt : Ctrl-C, after the workers have recorded their trials as interrupted.
    """
    plan = prepare(search, settings)
    with record.open_study(settings.db, plan.study, create=plan.about) as study:
        _check_known_space(study, plan.space)
        with study.lock():
            study.bury_dead()
        left = study.remaining(settings.trials)
        if not settings.quiet:
            print(
                f"Study {plan.study} in {study.url.render_as_string()}: {settings.trials - left} of "
                f"{settings.trials} trials are there; searching for {' and '.join(plan.objectives)}.",
                flush=True,
            )
    # Once here: a missing data set is said once, and a download happens once.
    load_sets(search, settings)
    load_drawn(settings)
    sweep_id = _sweep_of_wandb(plan, settings) if settings.engine == "wandb" else None
    _supervise(search, settings, sweep_id)
    if not settings.quiet:
        with record.open_study(settings.db, plan.study) as study:
            _print_summary(study)


@dataclass(frozen=True)
class Plan:
    """What follows from a search and its settings."""

    space: Space
    objectives: list[str]
    study: str
    about: dict[str, Any]
    pruner: str
    metric: dict[str, str]
    sweep_config: dict[str, Any]


def prepare(search: Search, settings: Settings) -> Plan:
    """Check everything that can be checked before anything trains; InputError with the entry's name."""
    space = read_space(search.space, search.conditions)
    own = search.space.get("metric", {}).get("name", "loss")
    objectives = list(settings.objectives) or [own]
    for name in objectives:
        if name not in record.MAXIMIZE:
            short = [key for key in record.MAXIMIZE if key[-1] not in "0123456789"]
            raise InputError(
                f"unknown objective {name!r}; known are {', '.join(short)}, precision_0 to f1_9."
            )
    if "drawn_accuracy" in objectives and settings.drawn is None:
        raise InputError("the objective drawn_accuracy needs --drawn PATH, drawings to measure it on.")
    if len(set(objectives)) < len(objectives):
        raise InputError(f"an objective is given twice: {', '.join(objectives)}.")
    stops = search.epochs and len(objectives) == 1 and objectives[0] in FORETOLD
    early = search.space.get("early_terminate", {})
    pruner = settings.pruner or (early.get("type", "none") if stops else "none")
    if pruner not in PRUNERS:
        raise InputError(
            f"the search space's entry 'early_terminate' has the type {pruner!r}; wanted hyperband."
        )
    if pruner != "none" and not stops:
        why = (
            f"{search.name} has no epochs"
            if not search.epochs
            else "several objectives are searched for"
            if len(objectives) > 1
            else f"the loss does not foretell the {objectives[0]}"
        )
        raise InputError(f"--pruner {pruner} cannot be used: {why}.")
    goal = "maximize" if record.MAXIMIZE[objectives[0]] else "minimize"
    metric = {"name": objectives[0], "goal": goal}
    sweep_config: dict[str, Any] = {}
    if settings.engine == "wandb":
        if len(objectives) > 1:
            raise InputError("a sweep of Weights & Biases has one objective; several need --engine optuna.")
        if settings.sampler != "tpe":
            raise InputError(f"--sampler {settings.sampler} belongs to --engine optuna; W&B chooses its own.")
        if pruner == "median":
            raise InputError("Weights & Biases knows no median pruning; wanted --pruner hyperband or none.")
        # Its early stopping reads what a run logs at every epoch.
        watched = {"loss": "val_loss", "log_loss": "val_loss", "accuracy": "val_accuracy"}
        if search.epochs:
            metric["name"] = watched.get(metric["name"], metric["name"])
        sweep_config = {"name": settings.study or search.name, "method": "bayes", "metric": metric}
        if pruner == "hyperband":
            sweep_config["early_terminate"] = {"type": "hyperband", "min_iter": 1, "eta": 3, **early}
        sweep_config["parameters"] = normalise(search.space)
    about = {
        "objectives": objectives,
        "model": search.name,
        "dataset": settings.dataset,
        "limit": settings.limit,
        "drawn": Path(settings.drawn).name if settings.drawn else None,
    }
    return Plan(space, objectives, settings.study or search.name, about, pruner, metric, sweep_config)


def work(
    search: Search, settings: Settings, *, threads: int | None = None, sweep_id: str | None = None
) -> None:
    """One worker: takes trials and runs them until the study has its total."""
    plan = prepare(search, settings)
    with record.open_study(settings.db, plan.study, create=plan.about) as study:
        worker = Worker(search, settings, plan, study, threads or tracking.processors())
        if settings.engine == "wandb":
            worker.run_wandb(sweep_id or "")
        else:
            worker.run_optuna()


def _print_summary(study: record.Study) -> None:
    states = [record.state_of(trial) for trial in study.optuna.get_trials(deepcopy=False)]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    print(f"Study {study.name}: {', '.join(counts)}{best_line(study)}.", flush=True)
    if "finished" not in states and "failed" in states:
        raise InputError(f"no trial of the study {study.name!r} finished; `pareto.py --csv FILE` says why.")


def _check_known_space(study: record.Study, space: Space) -> None:
    """InputError where a parameter's values are not those that the study already holds trials of."""
    import optuna

    for trial in study.optuna.get_trials(deepcopy=False):
        for name, known in trial.distributions.items():
            now = space.distributions.get(name, known)
            try:
                optuna.distributions.check_distribution_compatibility(known, now)
            except ValueError:
                raise InputError(
                    f"the search space's entry {name!r} is not what the study {study.name!r} was made with; "
                    "give another --study."
                ) from None


def _supervise(search: Search, settings: Settings, sweep_id: str | None) -> None:
    """Start the workers, replace those that a signal killed, and stop them all when asked to."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, tracking.processors() // settings.workers)
    changed: dict[str, str] = {} if settings.workers == 1 else dict.fromkeys(THREAD_VARIABLES, str(threads))
    deaths, status = 0, 0

    def start() -> Any:
        process = context.Process(target=_worker_process, args=(search, settings, threads, sweep_id))
        with _environment(changed):
            process.start()
        return process

    processes = [start() for _ in range(settings.workers)]
    try:
        while processes:
            multiprocessing.connection.wait([process.sentinel for process in processes])
            for process in [process for process in processes if process.exitcode is not None]:
                process.join()
                processes.remove(process)
                if process.exitcode < 0 and deaths < record.MAX_DEATHS * settings.trials:
                    deaths += 1
                    print(f"signal {-process.exitcode} killed a worker; starting another", file=sys.stderr)
                    with record.open_study(settings.db, settings.study or search.name) as study:
                        study.bury(process.pid)
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


def _worker_process(search: Search, settings: Settings, threads: int, sweep_id: str | None) -> None:
    """A worker's process, from its start to its exit code."""

    # Ctrl-C on a terminal reaches every process of the sweep and is passed on by the first one, too.
    def interrupt(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)  # as if killed with it: the trial is run again when the sweep is

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


class _environment:
    """Environment variables that are set while a block runs."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _sweep_of_wandb(plan: Plan, settings: Settings) -> str:
    """The sweep to join: the one that was asked for, the study's own, or a new one."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online":
        raise InputError(f"--engine wandb needs Weights & Biases online, and WANDB_MODE is {mode}.")
    if not tracking.has_wandb_key():
        raise InputError("--engine wandb needs an account: run `wandb login`, or set WANDB_API_KEY.")
    os.environ.setdefault("WANDB_SILENT", "true")  # our own line on each trial says enough
    with record.open_study(settings.db, plan.study, create=plan.about) as study, study.lock():
        known = settings.sweep_id or study.info.get("sweep_id")
        if not known:
            import wandb

            try:
                known = wandb.sweep(plan.sweep_config, project=wandb_project())
            except Exception as error:  # of many kinds, all of them from the network or the server
                raise InputError(f"Weights & Biases made no sweep: {reason(error)}.") from error
        study.optuna.set_user_attr("sweep_id", known)
        return known


def main(search: Search, description: str | None, argv: Sequence[str] | None = None) -> None:
    """The command line of a sweep."""
    parser = commandline.Parser(description)
    add = parser.add_argument
    own = search.space.get("metric", {}).get("name", "loss")
    early = search.space.get("early_terminate", {}).get("type", "none")
    add(
        "--trials",
        type=commandline.positive_int,
        default=40,
        metavar="N",
        help="trials that the study shall have in the end; those that it has already count, so that the same "
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
        help="of Optuna: tpe and gp (Gaussian process) are Bayesian; grid has 5 points on a continuous range "
        "and is walked in random order",
    )
    add(
        "--objectives",
        nargs="+",
        metavar="METRIC",
        help=f"what to search for; several: all at once, without pruning (default: {own})",
    )
    if search.epochs:
        add(
            "--pruner",
            choices=PRUNERS,
            help="stops hopeless trials by their loss on the choosing split "
            f"(default: {early}, none with several objectives)",
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
    group = parser.add_argument_group("record")
    group.add_argument(
        "--db",
        default=record.DEFAULT_DB,
        metavar="URL",
        help="database of the study: sqlite or postgresql",
    )
    group.add_argument("--study", default=search.name, metavar="NAME", help="name of the study")
    group.add_argument(
        "--wandb",
        choices=tracking.WANDB_MODES,
        help="a run of Weights & Biases for every trial (default: disabled; online with --engine wandb)",
    )
    group.add_argument(
        "--sweep-id",
        metavar="ID",
        help="with --engine wandb: the sweep to join (default: the study's own, else a new one)",
    )
    commandline.add_data_flags(parser)
    parser.add_argument(
        "--drawn",
        metavar="PATH",
        help="measure every trial on drawings, too (drawn_accuracy): recorded strokes, of which a test part "
        "is left out, or a folder of LABEL_anything.png",
    )
    arguments = vars(parser.parse_args(argv))

    names = arguments.pop("objectives") or []
    objectives = tuple(part for name in names for part in name.split(",") if part)
    engine_is_wandb = arguments["engine"] == "wandb"
    wandb_mode = arguments.pop("wandb") or ("online" if engine_is_wandb else "disabled")
    if engine_is_wandb and wandb_mode not in ("online", "auto"):
        raise InputError(f"--engine wandb needs --wandb online: there is no {wandb_mode} sweep.")
    if arguments["sweep_id"] and not engine_is_wandb:
        raise InputError("--sweep-id belongs to --engine wandb.")
    known = {entry.name for entry in fields(Settings)}
    settings = Settings(
        **{name: value for name, value in arguments.items() if name in known},
        objectives=objectives,
        wandb="online" if engine_is_wandb else wandb_mode,
    )
    run(search, settings)
