"""A worker of a sweep: it trains and measures the trials of a study, one after the other."""

from __future__ import annotations

import gc
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import commandline, tracking, trials
from toolkit.config import Config
from toolkit.files import jsonable
from toolkit.metrics import METRICS, flat
from toolkit.search import Plan, Settings, draw, make_pruner, make_sampler

if TYPE_CHECKING:
    from classifier import Classifier
    from toolkit.datasets import ImageSet

    import optuna

SILENCE = 15.0  # seconds without a line, at most, where there is no terminal
POLL = 0.5  # seconds between two looks whether the others' last trials have ended


class Worker:
    """Runs the trials of a study, with data that is loaded once."""

    def __init__(self, plan: Plan, study: optuna.Study) -> None:
        self.plan, self.settings, self.study = plan, plan.settings, study
        self.train_set, self.validation_set, self.drawn_set = load_sets(plan)
        where = tracking.environment()
        machine = {key: where[key] for key in ("machine", "system", "processor", "processors")}
        self.attributes = {
            "engine": self.settings.engine,
            "machine": {**machine, "threads": threads(plan.settings), "process": os.getpid()},
            "versions": {**where["versions"], "commit": where["commit"]},
            "command": where["command"],
            "images": len(self.train_set),
        }
        self.began, self.done = time.monotonic(), 0

    def run(self) -> None:
        """Run trials that Optuna draws."""
        self.study.pruner = make_pruner(self.plan.pruner)
        while self._wait_for_work():
            try:
                self.study.optimize(
                    self.objective, callbacks=[self.say, self.stop_at_total], catch=(Exception,)
                )
            except _DatabaseFailed as failed:
                raise failed.__cause__  # type: ignore[misc]  # noqa: B904 -- its own cause stays
            except Exception as error:
                # When the database fails, Optuna's own clean-up may fail next: the first failure is the one.
                if isinstance(error, (AssertionError, UnboundLocalError)) and error.__context__:
                    error = error.__context__  # type: ignore[assignment]
                if not _was_taken(error):
                    raise error
                print("another worker runs this trial again: it had given no sign of life", file=sys.stderr)
                continue
            if self.settings.sampler == "grid" and self.has_work():
                return  # that was the grid's last point

    def missing(self) -> int:
        """Return how many trials must begin for the study to reach its total."""
        # Not Optuna's MaxTrialsCallback: to it, interrupted trials are failed ones, which count.
        states = trials.count_states(self.study)
        return max(0, self.settings.trials - sum(states[state] for state in (*trials.ENDED, "running")))

    def has_work(self) -> bool:
        """Whether a trial waits in the queue, or the study lacks some to its total."""
        return self.missing() > 0 or trials.count_states(self.study)["waiting"] > 0

    def _wait_for_work(self) -> bool:
        """Return True when there is a trial to run, and False when the study has its total.

        Wait while the last trials still run in other processes: one of these may be killed.
        """
        from optuna.storages import fail_stale_trials

        given: set[int] = set()
        while True:
            fail_stale_trials(self.study)
            if self.has_work():
                return True
            running = {t._trial_id for t in self.study.get_trials() if t.state.name == "RUNNING"}
            if not running:
                return False
            for trial in running - given:
                # A process may have been killed before its trial's first heartbeat: give it one.
                self.study._storage.record_heartbeat(trial)  # type: ignore[attr-defined]
            given |= running
            time.sleep(POLL)

    def objective(self, trial: Any) -> tuple[float, ...]:
        """Train and measure an Optuna trial or a FixedTrial, and return the values of the objectives.

        Raises
        ------
        TrialPruned : the trial was stopped early.
        KeyboardInterrupt : after the trial was queued again.
        Exception : whatever the training raises, after its reason was recorded.
        """
        import optuna
        from optuna.exceptions import StorageInternalError

        # A sampler of its own for each trial: the same numbers after a stop, and others in other workers.
        self.study.sampler = make_sampler(self.settings.sampler, [self.settings.seed, trial.number])
        try:
            try:
                return self._train(trial)
            except KeyboardInterrupt:
                if isinstance(trial, optuna.Trial):
                    self._queue_again(trial)
                raise
            except StorageInternalError:
                raise
            except Exception as error:
                if _status(error) == "pruned":
                    raise optuna.TrialPruned from None
                trial.set_user_attr("reason", reason(error))
                raise
        except StorageInternalError as error:
            raise _DatabaseFailed from error

    def _train(self, trial: Any) -> tuple[float, ...]:
        from toolkit.evaluation import measure

        search = self.plan.search
        seed = trial.user_attrs.get("seed", self.settings.seed)
        drawn = draw(trial, self.plan.space, every=self.settings.sampler == "gp")
        config = search.config.read(search.configure(drawn))
        _record(trial, {**self.attributes, "seed": seed, "config": config.values()})
        run = TrialRun(self.plan, trial, config, seed, self.validation_set)
        try:
            classifier, metrics = search.train(
                self.train_set, self.validation_set, config, seed=seed, run=run
            )
            if not run.epochs and "train_loss" in metrics:
                # A model without epochs: both splits are logged all the same, once.
                run.log(1, tracking.one_epoch(metrics))
            metrics = {**metrics, **measure(classifier, self.validation_set.images)}
            if self.drawn_set is not None:
                right = classifier.predict(self.drawn_set.images) == self.drawn_set.labels
                metrics["drawn_accuracy"] = float(right.mean())
            values = objective_values(metrics, self.plan.about["objectives"])
        except BaseException as error:
            status = _status(error)
            run.close(run.last_metrics() if status != "pruned" else run.measured(), status)
            raise
        run.close(metrics, "finished")
        return values

    def _queue_again(self, trial: optuna.Trial) -> None:
        """Queue a trial that Ctrl-C interrupted, with the same parameters and seed."""
        import optuna

        trial.set_user_attr("interrupted", True)
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        again = {"seed": frozen.user_attrs.get("seed", self.settings.seed), "retry_of": trial.number}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING,
                params=frozen.params,
                distributions=frozen.distributions,
                user_attrs=again,
                system_attrs=frozen.system_attrs,
            )
        )

    def stop_at_total(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Stop Optuna's loop when there are enough trials; called after each of them."""
        if not self.has_work():
            study.stop()

    def say(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Print what came of a trial; called after each of them."""
        self.done += 1
        if trial.state.name == "FAIL":
            gc.collect()  # memory may have run out
        if not self.settings.quiet:
            print(self._line(trial), flush=True)

    def _line(self, trial: optuna.trial.FrozenTrial) -> str:
        """Return a line on a trial that ended, with the best one so far and the time left."""
        known = trials.record_of(self.plan.study, trial)
        if known["state"] == "failed":
            parts = [known["reason"]]
        else:
            names = dict.fromkeys([*self.plan.about["objectives"], "loss", "accuracy"])
            parts = [f"{name} {METRICS[name].text(known[name])}" for name in names if name in known]
        if known["state"] == "pruned":
            count = int(known.get("epochs", 0))
            parts.append(f"after {count} epoch{'s' if count != 1 else ''}")
        if trial.duration is not None:
            parts.append(f"{trial.duration.total_seconds():.1f} s")
        ended = trials.count_ended(self.study)
        line = f"[{ended}/{self.settings.trials}] trial {trial.number} {known['state']}: {', '.join(parts)}"
        line += best_so_far(self.study)
        each = (time.monotonic() - self.began) / self.done / self.settings.workers
        left = each * (self.settings.trials - ended)
        if left > 0:
            line += f"; about {_duration(left)} left"
        return line


class TrialRun(tracking.Run):
    """A run whose epochs are reported to its trial, which may be stopped by that."""

    def __init__(self, plan: Plan, trial: Any, config: Config, seed: int, validation_set: ImageSet) -> None:
        self.trial, self.watched, self.validation_set = trial, plan.watched, validation_set
        self.classifier: Classifier | None = None  # as it was last logged
        self.sweep, self.said = plan.settings, time.monotonic()
        values = config.values()
        self.last_epoch = values.get("epochs")
        super().__init__(
            f"sweep-{plan.search.kind}",
            {**values, "seed": seed, "trial": trial.number, "study": plan.study},
            wandb=plan.settings.wandb,
            group=plan.study,
            name=f"{plan.study} {trial.number}",
            quiet=True,
            directory=False,
        )

    def log(self, epoch: int, metrics: Mapping[str, float], classifier: Classifier | None = None) -> None:
        import optuna

        super().log(epoch, metrics)
        self.classifier = classifier
        if self.watched is None or self.watched not in metrics:
            return
        self.trial.report(metrics[self.watched], epoch)
        if epoch != self.last_epoch and self.trial.should_prune():
            raise optuna.TrialPruned

    def progress(self, iterable: Iterable[Any], description: str = "", total: int | None = None) -> Any:
        """Return the iterable as a `tqdm`: a bar on a terminal, and now and then a line elsewhere.

        Bars of several workers would overwrite each other, so these write lines.
        """
        from tqdm import tqdm

        description = f"trial {self.trial.number}, {description}"
        if self.sweep.quiet:
            return tqdm(iterable, disable=True)
        if self.sweep.workers == 1 and sys.stderr.isatty():
            return tqdm(iterable, total=total, desc=description, leave=False)
        total = total if total is not None else len(iterable)  # type: ignore[arg-type]
        return tqdm(self._with_lines(iterable, description, total), disable=True)

    def _with_lines(self, iterable: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for index, item in enumerate(iterable):
            if time.monotonic() - self.said > SILENCE:
                self.said = time.monotonic()
                print(f"{description}: {index / total:.0%}", flush=True)
            yield item

    def last_metrics(self) -> dict[str, float]:
        """Return what is known of a trial that did not come to its end."""
        last = self.epochs[-1] if self.epochs else {}
        keys = {"loss": "val_loss", "accuracy": "val_accuracy", "epochs": "epoch", "train_seconds": "seconds"}
        return {name: last[key] for name, key in keys.items() if math.isfinite(last.get(key, math.nan))}

    def measured(self) -> dict[str, Any]:
        """Return what a trial that is stopped early has reached, on the validation split."""
        from toolkit import training

        known: dict[str, Any] = self.last_metrics()
        if self.classifier is None or "loss" not in known:  # a loss that is not finite
            return known
        return {**known, **training.validate(self.validation_set, self.classifier)}

    def close(self, metrics: Mapping[str, Any], status: str) -> None:
        """Record how the trial ended, on Weights & Biases with a picture of the confusion matrix."""
        from toolkit import figures

        if status != "interrupted":
            _record(self.trial, {**metrics, "history": [_rounded(epoch) for epoch in self.epochs]})
        with tempfile.TemporaryDirectory() as folder:
            pictures = {}
            if self.wandb is not None and "confusion" in metrics:
                pictures["confusion_matrix"] = Path(folder) / "confusion.png"
                figures.save(figures.confusion(metrics, str(self.name)), pictures["confusion_matrix"])
            self.finish(metrics, status=status, pictures=pictures)


class _DatabaseFailed(BaseException):
    """A full disk, say, in the midst of a trial.

    Not an Exception: Optuna would take the trial for failed. So it looks like one whose process was killed,
    which is run again. Its cause is the error.
    """


def threads(settings: Settings) -> int:
    """Return how many threads a worker may use: its share of the processors."""
    return max(1, commandline.processors() // settings.workers)


def load_sets(plan: Plan) -> tuple[Any, Any, Any]:
    """Return the train split, the validation split, and the drawings to measure on or None."""
    from toolkit import drawings

    settings, load = plan.settings, plan.search.load
    drawn = drawings.load_drawn(settings.drawn, "validation") if settings.drawn else None
    where = {"dataset": settings.dataset, "data": settings.data, "limit": settings.limit}
    return load("train", **where), load("validation", **where), drawn


def objective_values(metrics: Mapping[str, Any], objectives: Sequence[str]) -> tuple[float, ...]:
    """Return the values of the objectives. Raises ValueError when one is missing or not finite."""
    known = flat(dict(metrics))
    for name in objectives:
        if known.get(name) is None or not math.isfinite(known[name]):
            raise ValueError(f"the {name} is {known.get(name)}.")
    return tuple(float(known[name]) for name in objectives)


def best_so_far(study: optuna.Study) -> str:
    """Say which trial is the best, or how many are on the front; "" when none has finished."""
    objectives = study.user_attrs["objectives"]
    try:
        if len(objectives) > 1:
            return f"; {len(study.best_trials)} on the front so far"
        best = study.best_trial
    except ValueError:
        return ""
    return f"; best {objectives[0]} {METRICS[objectives[0]].text(best.value)} (trial {best.number})"


def reason(error: BaseException) -> str:
    """Return an exception as one line, for the record."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _was_taken(error: Exception) -> bool:
    """Whether a trial was ended by another process, which took it for dead while this one was suspended."""
    from optuna.exceptions import UpdateFinishedTrialError

    return isinstance(error, UpdateFinishedTrialError) or str(error).startswith("Cannot tell a")


def _status(error: BaseException) -> str:
    import optuna

    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "pruned" if isinstance(error, optuna.TrialPruned) or tracking.is_wandb_stop(error) else "failed"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _rounded(epoch: Mapping[str, float]) -> dict[str, float]:
    """Return an epoch's entries with five significant digits: sweeps keep hundreds of them."""
    return {"epoch": epoch["epoch"]} | {k: float(f"{v:.5g}") for k, v in epoch.items() if k != "epoch"}


def _record(trial: Any, metrics: Mapping[str, Any]) -> None:
    for name, value in jsonable(metrics).items():
        trial.set_user_attr(name, value)
