"""A worker of a sweep: takes trials from the study, trains them, records what came out.

Engine `optuna` draws the parameters here; engine `wandb` asks a sweep of Weights & Biases for them.
"""

from __future__ import annotations

import functools
import gc
import json
import math
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier import Classifier, InputError
from toolkit import study as record
from toolkit import tracking
from toolkit.space import Space

if TYPE_CHECKING:
    import optuna

    from toolkit.sweep import Plan, Search, Settings

LATENCY_REPEATS, LATENCY_SECONDS = 50, 1.0  # whichever is reached first
POLL = 0.5  # seconds between two looks whether the others' last trials have ended
WANDB_ATTEMPTS = 5  # to reach Weights & Biases: 2 s after the first failure, then twice as long each time


@dataclass
class Outcome:
    """What came of a trial; filled while it is trained."""

    trial: optuna.Trial
    state: str = "pruned"  # where W&B stops it anywhere
    attributes: dict[str, Any] = field(default_factory=dict)
    values: list[float] | None = None
    seconds: float = 0.0


class Worker:
    """A worker's loop over trials, until the study has its total."""

    def __init__(
        self, search: Search, settings: Settings, plan: Plan, study: record.Study, threads: int
    ) -> None:
        self.search, self.settings, self.plan, self.study = search, settings, plan, study
        self.train_set, self.validation_set = load_sets(search, settings)
        self.drawn_set = load_drawn(settings)
        where = tracking.environment()
        machine = {key: where[key] for key in ("machine", "system", "processor", "processors")}
        self.attributes = {
            "engine": settings.engine,
            "seed": settings.seed,
            "machine": {**machine, "threads": threads},
            "versions": {**where["versions"], "commit": where["commit"]},
        }
        self.interrupted = False  # by Ctrl-C, as against stopped by W&B

    def run_optuna(self) -> None:
        """Trials whose parameters Optuna draws."""
        while (claimed := self._claim(self._propose)) is not False:
            if claimed is True:
                # The total is reached when the others' trials end well; one may yet be left behind.
                time.sleep(POLL)
            else:
                self._record(self._train(Outcome(claimed)))

    def run_wandb(self, sweep_id: str) -> None:
        """Trials whose parameters a sweep of Weights & Biases proposes, one agent a trial.

        An agent for one trial at a time keeps the study's total exact.
        """

        # wandb.agent swallows KeyboardInterrupt, and ends its thread in the same way as W&B stops a trial.
        def interrupt(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt

        in_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, interrupt) if in_main else None
        threading.excepthook = _hide_wandb_finalizer
        failures = 0
        try:
            while True:
                # First what a killed sweep left behind: as plain runs, for W&B has closed its own.
                claimed = self._claim(lambda _: False)
                if not isinstance(claimed, bool):
                    self._record(self._train(Outcome(claimed)))
                    continue
                if not self.study.remaining(self.settings.trials):
                    if not claimed:
                        return
                    time.sleep(POLL)
                    continue
                done: list[Outcome | BaseException | None] = []
                failure = self._run_agent(sweep_id, functools.partial(self._run_proposal, done))
                for result in done:
                    if isinstance(result, Outcome):
                        self._record(result)
                    elif result is not None:
                        raise result
                if self.interrupted:
                    raise KeyboardInterrupt
                failures = failures + 1 if failure else 0
                if failures == WANDB_ATTEMPTS:
                    raise InputError(
                        f"Weights & Biases cannot be reached: {failure}; the same command goes on."
                    )
                if failure:
                    time.sleep(2**failures)
                elif not done:
                    if not self.settings.quiet:
                        print("Weights & Biases has ended the sweep.", flush=True)
                    return
        finally:
            threading.excepthook = threading.__excepthook__
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def _claim(self, propose: Callable[[Any], Any], *, retry: bool = True) -> optuna.Trial | bool:
        return self.study.claim(self.settings.trials, self.attributes, propose, retry=retry)

    def _run_agent(self, sweep_id: str, function: Callable[[], None]) -> str | None:
        """Let an agent of W&B run one trial; why it could not, or None."""
        import wandb

        try:
            wandb.agent(sweep_id, function=function, project=wandb_project(), count=1)
        except Exception as error:  # of many kinds, from the network, the server or the client's own process
            wandb.teardown()
            return reason(error)
        return None

    def _run_proposal(self, done: list[Outcome | BaseException | None]) -> None:
        """The function of the W&B agent, in a thread of its own: trains, and leaves the record to its caller.

        The exception by which W&B stops a trial can come up anywhere in here.
        """
        done.append(None)
        try:
            try:
                parameters = self.plan.space.read(_proposal_of_wandb())
            except ValueError as error:
                raise InputError(
                    f"the sweep of Weights & Biases is not of this search space: {error}"
                ) from None
            distributions = self.plan.space.distributions
            drawn = {name: value for name, value in parameters.items() if name in distributions}
            of_drawn = {name: distributions[name] for name in drawn}
            claimed = self._claim(lambda _: (drawn, of_drawn), retry=False)
            if not isinstance(claimed, bool):
                # Kept before the training: a stop just before its end, or after it, must not lose the trial.
                outcome = Outcome(claimed)
                done[0] = outcome
                self._train(outcome)
        except BaseException as error:
            if done[0] is None and not tracking.is_wandb_stop(error):
                done[0] = error
        finally:
            self.study.close_thread()

    def _propose(self, trials: Sequence[optuna.trial.FrozenTrial]) -> Any:
        """Nothing for samplers that draw; the next point of a grid, or False after its last."""
        # A fresh sampler for every trial: workers and restarts draw other numbers, the same ones every time.
        number = sum("retry_of" not in trial.user_attrs for trial in trials)
        seed = random.Random(f"{self.settings.seed} {number}").getrandbits(32)
        self.study.optuna.sampler = make_sampler(self.settings.sampler, seed)
        self.study.optuna.pruner = make_pruner(self.plan.pruner, self.search.space)
        distributions = self.plan.space.distributions
        if self.settings.sampler != "grid":
            if number == 0 and self.search.start:
                return dict(self.search.start), {name: distributions[name] for name in self.search.start}
            return None
        tried = {json.dumps(trial.params, sort_keys=True) for trial in trials}
        for point in grid_points(self.plan.space, self.settings.seed):
            drawn = {name: value for name, value in point.items() if name in distributions}
            if json.dumps(drawn, sort_keys=True) not in tried:
                return drawn, {name: distributions[name] for name in drawn}
        return False

    def _train(self, outcome: Outcome) -> Outcome:
        """Train a trial; whatever happens ends up in its outcome."""
        import optuna

        trial, run = outcome.trial, None
        started = time.perf_counter()
        pictures: dict[str, Path] = {}
        with self.study.heartbeat(trial), tempfile.TemporaryDirectory() as folder:
            try:
                flat = self.settings.sampler == "gp"
                parameters = self.plan.space.draw(functools.partial(_suggest, trial), flat=flat)
                config = self.search.configure(parameters)
                trial.set_user_attr("config", config)
                run = TrialRun(self, trial, config)
                classifier, metrics = self.search.train(
                    self.train_set, self.validation_set, seed=trial.user_attrs["seed"], run=run, **config
                )
                if not run.epochs and "train_loss" in metrics:
                    # A model without epochs: both splits are logged all the same, once.
                    names = ("train_loss", "train_accuracy", "loss", "accuracy")
                    run.log(1, {name if "train" in name else f"val_{name}": metrics[name] for name in names})
                outcome.attributes = {
                    **metrics,
                    **measure(classifier, self.validation_set.images, Path(folder)),
                }
                if self.drawn_set is not None:
                    right = classifier.predict(self.drawn_set.images) == self.drawn_set.labels
                    outcome.attributes["drawn_accuracy"] = float(right.mean())
                outcome.values = objective_values(outcome.attributes, self.plan.objectives)
                if run.wandb is not None and "confusion" in metrics:
                    from toolkit.evaluation import plot_confusion

                    path = Path(folder) / "confusion.png"
                    plot_confusion(metrics, path, f"{self.plan.study} {trial.number}")
                    pictures["confusion_matrix"] = path
                outcome.state = "finished"
            except optuna.TrialPruned:
                outcome.state = "pruned"
            except KeyboardInterrupt:
                outcome.state = "interrupted"
            except Exception as error:
                if tracking.is_wandb_stop(error):
                    outcome.state = "interrupted" if self.interrupted else "pruned"
                else:
                    outcome.state = "failed"
                    outcome.attributes["reason"] = reason(error)
            if run is not None and outcome.state != "finished":
                outcome.attributes = {**run.last_metrics(), **outcome.attributes}
            outcome.seconds = time.perf_counter() - started
            if run is not None:
                run.finish(outcome.attributes, status=outcome.state, pictures=pictures)
        return outcome

    def _record(self, outcome: Outcome) -> None:
        """Write a trial's outcome into the study, and say it; an interrupt is raised again."""
        trial, state = outcome.trial, outcome.state
        if state == "interrupted":
            # What it reached is not its result: it runs again.
            self.study.end(trial, state, {})
            raise KeyboardInterrupt
        values = outcome.values if state == "finished" else None
        kept = self.study.end(trial, state, outcome.attributes, values)
        if state == "failed":
            gc.collect()
        if not self.settings.quiet:
            line = f"trial {trial.number}: another worker had taken it for dead and runs it again"
            print(progress_line(self.study, outcome, self.settings.trials) if kept else line, flush=True)


class TrialRun(tracking.Run):
    """A run whose epochs are reported to the trial, which may be stopped by that."""

    def __init__(self, worker: Worker, trial: optuna.Trial, config: Mapping[str, Any]) -> None:
        self._trial, self._epochs = trial, config.get("epochs")
        self._reports = worker.plan.pruner != "none" or (
            worker.search.epochs and len(worker.plan.objectives) == 1
        )
        self._prunes = worker.plan.pruner != "none" and worker.settings.engine == "optuna"
        self._sign = -1.0 if record.MAXIMIZE[worker.plan.objectives[0]] else 1.0
        super().__init__(
            f"sweep-{worker.search.name}",
            {**config, "seed": trial.user_attrs["seed"], "trial": trial.number, "study": worker.plan.study},
            wandb=worker.settings.wandb,
            group=worker.plan.study,
            quiet=True,
            directory=False,
        )

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        import optuna

        super().log(epoch, metrics)
        if not self._reports or "val_loss" not in metrics:
            return
        # Signed so that Optuna, which knows one direction a study, takes a smaller loss for the better one.
        self._trial.report(self._sign * metrics["val_loss"], epoch)
        if self._prunes and epoch != self._epochs and self._trial.should_prune():
            raise optuna.TrialPruned

    def last_metrics(self) -> dict[str, float]:
        """What is known of a trial that did not come to its end."""
        if not self.epochs:
            return {}
        last = self.epochs[-1]
        names = {
            "val_loss": "loss",
            "val_accuracy": "accuracy",
            "epoch": "epochs",
            "seconds": "train_seconds",
        }
        return {name: last[key] for key, name in names.items() if key in last and math.isfinite(last[key])}


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """An Optuna sampler by name; for a grid, whose points are proposed, one that draws nothing."""
    import optuna

    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if name == "tpe":
        # The liar keeps workers that draw at the same time apart.
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=seed)


def make_pruner(name: str, space: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """An Optuna pruner by name, with the settings of the space's `early_terminate`."""
    import optuna

    early = space.get("early_terminate", {})
    if name == "hyperband":
        # As W&B: at each rung, min_iter and eta times as many epochs again and again, the best eta-th goes
        # on; `s` brackets begin at later rungs. TPE models each bracket by itself, so that more than one
        # is for hundreds of trials.
        first, eta = early.get("min_iter", 1), early.get("eta", 3)
        last = first * eta ** (early.get("s", 1) - 1)
        return optuna.pruners.HyperbandPruner(min_resource=first, max_resource=last, reduction_factor=eta)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0)
    return optuna.pruners.NopPruner()


def grid_points(space: Space, seed: int, most: int = 100_000) -> Iterator[dict[str, Any]]:
    """The points of a grid over the space, each once, in an order drawn by the seed; at most `most`."""
    axes = space.grid()
    total = math.prod(len(axis) for axis in axes.values())
    seen = set()
    for index in random.Random(seed).sample(range(min(total, sys.maxsize)), min(total, most)):
        values = {}
        for name, axis in axes.items():
            index, place = divmod(index, len(axis))
            values[name] = axis[place]
        point = space.draw(functools.partial(_pick, values))
        key = json.dumps(point, sort_keys=True)
        # Points that differ only in irrelevant parameters are one.
        if key not in seen:
            seen.add(key)
            yield point


def _pick(values: Mapping[str, Any], name: str, _: Any) -> Any:
    return values[name]


def measure(classifier: Classifier, images: Any, folder: Path) -> dict[str, Any]:
    """Prediction time, size and number of parameters of a classifier.

    Returns
    -------
    latency : median seconds of `predict_proba` for one image, given alone.
    size : bytes of the saved model.
    parameters : numbers that were learned; where the classifier does not say, all numbers that it stores.
    """
    times: list[float] = []
    for index in range(3):
        classifier.predict_proba(images[index % len(images)])  # the first calls set up caches
    begin = time.perf_counter()
    while len(times) < LATENCY_REPEATS and time.perf_counter() - begin < LATENCY_SECONDS:
        image = images[len(times) % len(images)]
        started = time.perf_counter()
        classifier.predict_proba(image)
        times.append(time.perf_counter() - started)
    path = folder / "model.safetensors"
    classifier.save(path)
    parameters = getattr(classifier, "parameters_count", None)
    result = {
        "latency": statistics.median(times),
        "size": path.stat().st_size,
        "parameters": parameters or sum(int(array.size) for array in classifier.arrays().values()),
    }
    if hasattr(classifier, "support_count"):
        result["support_vectors"] = int(classifier.support_count)
    return result


def objective_values(attributes: Mapping[str, Any], objectives: Sequence[str]) -> list[float]:
    """The values of the objectives; ValueError where one is missing or is not finite."""
    flat = dict(attributes)
    for name, values in attributes.get("per_class", {}).items():
        flat.update({f"{name}_{digit}": value for digit, value in enumerate(values)})
    result = []
    for name in objectives:
        value = flat.get(name)
        if value is None or not math.isfinite(value):
            raise ValueError(f"the {name} is {value}.")
        result.append(float(value))
    return result


def progress_line(study: record.Study, outcome: Outcome, total: int) -> str:
    """One line on a trial that ended, with the best one so far."""
    known = outcome.attributes
    if "reason" in known:
        parts = [known["reason"]]
    else:
        names = dict.fromkeys([*study.objectives, "loss", "accuracy"])
        parts = [f"{name} {_shown(name, known[name])}" for name in names if name in known]
        if outcome.state == "pruned":
            parts.append(f"after {known.get('epochs', 0):.0f} epochs")
    parts.append(f"{outcome.seconds:.1f} s")
    states = [record.state_of(trial) for trial in study.optuna.get_trials(deepcopy=False)]
    done = sum(state in ("finished", "pruned", "failed") for state in states)
    line = f"[{done}/{total}] trial {outcome.trial.number} {outcome.state}: {', '.join(parts)}"
    return line + best_line(study)


def best_line(study: record.Study) -> str:
    try:
        if len(study.objectives) > 1:
            return f"; {len(study.optuna.best_trials)} on the front so far"
        best = study.optuna.best_trial
    except ValueError:
        return ""
    name = study.objectives[0]
    return f"; best {name} {_shown(name, best.value)} (trial {best.number})"


def _shown(name: str, value: Any) -> str:
    if name.startswith(("accuracy", "drawn", "macro", "worst", "precision", "recall", "f1")):
        return f"{100 * value:.2f} %"
    if name == "latency":
        return f"{1000 * value:.2f} ms"
    return f"{value:,.0f}" if name in ("size", "parameters", "epochs") else f"{value:.4f}"


def _suggest(trial: optuna.Trial, name: str, distribution: Any) -> Any:
    import optuna

    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high)
    return trial.suggest_float(
        name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
    )


def reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _hide_wandb_finalizer(arguments: Any) -> None:
    # A thread of wandb 0.31 complains at every trial: the agent ends the process that the thread talks to.
    if getattr(arguments.thread, "name", "") != "wandb-ServiceFinalizer":
        threading.__excepthook__(arguments)


def wandb_project() -> str:
    return os.environ.get("WANDB_PROJECT") or tracking.WANDB_PROJECT


def _proposal_of_wandb() -> dict[str, Any]:
    """The parameters that the agent was given for its run: the file that it leaves for `wandb.init`."""
    import yaml

    content = yaml.safe_load(Path(os.environ["WANDB_SWEEP_PARAM_PATH"]).read_text())
    return {
        name: entry["value"]
        for name, entry in content.items()
        if isinstance(entry, dict) and "value" in entry
    }


def load_sets(search: Search, settings: Settings) -> tuple[Any, Any]:
    """The splits to fit and to choose on."""
    where = {"dataset": settings.dataset, "data": settings.data, "limit": settings.limit}
    return search.load("train", **where), search.load("validation", **where)


def load_drawn(settings: Settings) -> Any:
    """The drawings that every trial is measured on: of a set with a test part, the others; None without."""
    if settings.drawn is None:
        return None
    from toolkit import datasets

    return datasets.load_drawn(settings.drawn, part="validation")
