"""What a sweep searches: the space of one model, and how what was drawn becomes a configuration.

    def space():
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return {
            "kernel": CategoricalDistribution(["rbf", "poly"]),
            "degree": (IntDistribution(2, 4), lambda drawn: drawn["kernel"] == "poly"),
        }

    SEARCH = Search("svm", train_svm.Config, train_svm.train, space)

A name that is a field of the configuration needs no more than its line. `configure` translates others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import datasets
from toolkit.config import Config
from toolkit.files import InputError
from toolkit.metrics import check_names
from toolkit.trials import DEFAULT_DB, database_url

import numpy as np

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("hyperband", "median", "none")
GRID_POINTS = 5  # of a continuous range
# What an epoch logs that foretells an objective: only a search for one of these can stop trials early.
WATCHED = {
    **dict.fromkeys(("loss", "log_loss"), "val_loss"),
    **dict.fromkeys(("accuracy", "macro_precision", "macro_recall", "macro_f1"), "val_accuracy"),
}


def always(drawn: Mapping[str, Any]) -> bool:
    """The condition of a hyperparameter that is always drawn."""
    return True


@dataclass(frozen=True)
class Search:
    """What one model brings to its sweep. The functions stand in a module, so that processes can share them.

    Attributes
    ----------
    kind : of the model; also the study's name, unless another is given.
    config : the training's configuration.
    train : train(train_set, validation_set, config, *, seed, run) -> classifier, metrics.
    space : returns what to search: name -> an Optuna distribution, or (distribution, condition). The
        condition gets what was drawn before it, a dict, and says whether the name is drawn at all.
    configure : translates what was drawn into fields of `config`; the rest of these keep their defaults.
    start : what the first trial has instead of the defaults; None: it is drawn like the others.
    load : load(split, dataset=..., data=..., limit=...) -> images and labels.
    """

    kind: str
    config: type[Config]
    train: Callable[..., tuple[Any, dict[str, Any]]]
    space: Callable[[], Mapping[str, Any]]
    configure: Callable[[dict[str, Any]], dict[str, Any]] = dict
    start: Mapping[str, Any] | None = None
    load: Callable[..., Any] = datasets.load

    @property
    def has_epochs(self) -> bool:
        """Whether training logs epochs, so that a trial can be stopped early."""
        return "epochs" in self.config().values()


@dataclass(frozen=True)
class Settings:
    """A sweep's command line; the help of `main`'s parser says what each is."""

    trials: int = 40
    engine: str = "optuna"
    sampler: str = "tpe"
    pruner: str | None = None
    objectives: tuple[str, ...] = ("loss",)
    db: str = DEFAULT_DB
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


@dataclass(frozen=True)
class Plan:
    """A search with its settings, checked, and what follows from them.

    Attributes
    ----------
    study : its name.
    space : name -> (distribution, condition).
    start : what the first trial draws; {} leaves it to the sampler.
    watched : what an epoch logs that foretells the objective; None: trials are not stopped early.
    about : what all trials of a study have in common.
    """

    search: Search
    settings: Settings
    study: str
    space: Mapping[str, tuple[Any, Callable[[Mapping[str, Any]], bool]]]
    start: Mapping[str, Any]
    pruner: str
    watched: str | None
    about: dict[str, Any]


def prepare(search: Search, settings: Settings) -> Plan:
    """Check everything that can be checked before data is loaded. Raises InputError."""
    objectives = check_names(list(settings.objectives))
    if not objectives:
        raise InputError("wanted at least one objective.")
    if "drawn_accuracy" in objectives and settings.drawn is None:
        raise InputError("the objective drawn_accuracy needs --drawn PATH, drawings to measure it on.")
    watched = WATCHED.get(objectives[0]) if search.has_epochs and len(objectives) == 1 else None
    pruner = settings.pruner or ("hyperband" if watched else "none")
    if pruner != "none" and watched is None:
        why = f"the loss does not foretell the {objectives[0]}"
        why = "several objectives are searched for" if len(objectives) > 1 else why
        why = why if search.has_epochs else f"{search.kind} has no epochs"
        raise InputError(f"--pruner {pruner} cannot be used: {why}.")
    if settings.engine == "wandb":
        if len(objectives) > 1:
            raise InputError("a sweep of Weights & Biases has one objective; several need --engine optuna.")
        if settings.sampler != "tpe":
            raise InputError(f"--sampler {settings.sampler} belongs to --engine optuna; W&B chooses its own.")
        if pruner == "median":
            raise InputError("Weights & Biases knows no median pruning; wanted --pruner hyperband or none.")
    database_url(settings.db)
    space = read_space(search, on_grid=settings.sampler == "grid")
    about = {
        "objectives": objectives,
        "model": search.kind,
        "dataset": settings.dataset,
        "limit": settings.limit,
        "drawn": Path(settings.drawn).name if settings.drawn else None,
    }
    drawn = settings.engine == "optuna" and settings.sampler != "grid"
    start = first_trial(search, space) if drawn else {}
    return Plan(search, settings, settings.study or search.kind, space, start, pruner, watched, about)


def read_space(search: Search, *, on_grid: bool = False) -> dict[str, Any]:
    """Return a search's space as name -> (distribution, condition).

    Raises InputError when it has something else, or draws what the configuration does not know.
    """
    from optuna.distributions import BaseDistribution
    from optuna.trial import FixedTrial

    try:
        space = search.space()
    except (TypeError, ValueError) as error:
        raise InputError(f"the search space of {search.kind}: {error}") from None
    pairs = {name: entry if isinstance(entry, tuple) else (entry, always) for name, entry in space.items()}
    for name, (distribution, _) in pairs.items():
        if not isinstance(distribution, BaseDistribution):
            raise InputError(f"the search space's entry {name!r} is no distribution: {distribution!r}.")
    if on_grid:
        pairs = {name: (grid(distribution), relevant) for name, (distribution, relevant) in pairs.items()}
    for end in (0, -1):  # two opposite corners of the space show a wrong name or range
        ends = {
            name: getattr(one, "choices", None) or (one.low, one.high) for name, (one, _) in pairs.items()
        }
        corner = FixedTrial({name: values[end] for name, values in ends.items()})
        search.config.read(search.configure(draw(corner, pairs)))
    return pairs


def first_trial(search: Search, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first trial draws: of its start and the defaults, what can be drawn from the space."""
    if search.start is None:
        return {}
    wanted = {**search.config().values(), **search.start}
    known = {name: one for name, (one, _) in space.items() if name in wanted}
    return {name: wanted[name] for name, one in known.items() if _contains(one, wanted[name])}


def _contains(distribution: Any, value: Any) -> bool:
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    return isinstance(value, (int, float)) and distribution.low <= value <= distribution.high


def grid(distribution: Any) -> Any:
    """Return a distribution with finitely many values: a continuous range becomes a few points of it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not isinstance(distribution, FloatDistribution) or distribution.step:
        return distribution
    spaced = np.geomspace if distribution.log else np.linspace
    return CategoricalDistribution(spaced(distribution.low, distribution.high, GRID_POINTS).tolist())


def draw(trial: Any, space: Mapping[str, Any], *, every: bool = False) -> dict[str, Any]:
    """Return the relevant hyperparameters of a trial, each drawn after those that it depends on.

    With `every`, a trial draws the others too, for samplers that want the same ones in all trials.
    """
    from optuna.distributions import IntDistribution

    drawn: dict[str, Any] = {}
    for name, (one, relevant) in space.items():
        wanted = relevant(drawn)
        if not wanted and not every:
            continue
        if hasattr(one, "choices"):
            value = trial.suggest_categorical(name, one.choices)
        else:
            suggest = trial.suggest_int if isinstance(one, IntDistribution) else trial.suggest_float
            value = suggest(name, one.low, one.high, step=one.step, log=one.log)
        drawn |= {name: value} if wanted else {}
    return drawn


def make_sampler(name: str, seed: Sequence[int]) -> optuna.samplers.BaseSampler:
    """Return an Optuna sampler by name."""
    from optuna import samplers

    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    if name == "tpe":
        # The liar keeps workers that draw at the same time apart.
        return samplers.TPESampler(seed=number, constant_liar=True)
    kinds = {"gp": samplers.GPSampler, "random": samplers.RandomSampler, "grid": samplers.BruteForceSampler}
    return kinds[name](seed=number)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Return an Optuna pruner by name."""
    from optuna import pruners

    if name == "hyperband":
        # One bracket, as W&B has it: after epochs 1, 3, 9, ... the best third goes on. TPE models each
        # bracket by itself, so that more than one is for hundreds of trials.
        return pruners.HyperbandPruner(min_resource=1, max_resource=1, reduction_factor=3)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0)
    return pruners.NopPruner()
