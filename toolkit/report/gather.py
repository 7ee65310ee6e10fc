"""What the report is written from, read and computed: trainings and their diagnoses, trials of sweeps and the
importance of hyperparameters, and models, which are tested here."""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier import ROOT, InputError
from toolkit import study
from toolkit.evaluation import default_model
from toolkit.report.texts import TEXTS

if TYPE_CHECKING:
    from toolkit.datasets import ImageSet

KINDS = {"softmax": "Softmax", "ann": "ANN", "svm": "SVM"}  # module, and the class in it
# What a diagnosis goes by; the report prints these.
MOST_FIT_ERROR = 0.03  # of the fitting split at the end: more is underfitting
STILL_FALLING = 0.10  # of the choosing loss, gone in the last fifth of the epochs: more is underfitting
LOSS_RISE = 0.10  # of the choosing loss above its lowest, while the fitting loss fell: more is overfitting
MOST_GAP = 0.02  # between the accuracies of both splits at the end: more is overfitting
FEWEST_EPOCHS = 5  # for rules that look at the course of the training
FEWEST_TRIALS = 10  # for the importance of hyperparameters
OF_THE_MACHINE = {"jobs", "device"}  # entries of a configuration that change no result


def shown(path: str | Path) -> str:
    """A path below the current folder, or else below the toolkit's, without what lies above these."""
    absolute = Path(path).resolve()
    for place in (Path.cwd(), ROOT):
        if absolute.is_relative_to(place):
            return str(absolute.relative_to(place))
    return str(path)


# What is read


@dataclass(frozen=True)
class TrainingRun:
    """The record of one finished training."""

    folder: Path
    kind: str
    record: dict[str, Any]  # config.json
    epochs: list[dict[str, float]]
    metrics: dict[str, Any]

    @property
    def asked(self) -> dict[str, Any]:
        """What the run was asked for: data set, limit, seed, final, from_trial, the training's config."""
        return self.record["config"]


@dataclass(frozen=True)
class Sweep:
    """The trials of one study, as `study.record_of` gives them, and the file they come from."""

    name: str
    kind: str
    trials: list[dict[str, Any]]
    source: str

    def ended(self, state: str) -> list[dict[str, Any]]:
        return [trial for trial in self.trials if trial["state"] == state]


@dataclass(frozen=True)
class Assessment:
    """A model, and what it does on the test split and on drawings."""

    kind: str
    path: Path
    config: dict[str, Any]
    trained_on: dict[str, Any]
    size: int  # bytes
    test: str  # the split that it was tested on; empty, as metrics and mistakes are, where that was not found
    metrics: dict[str, Any]
    latency: float  # seconds
    mistakes: list[tuple[np.ndarray, int, int, float]]  # image, true digit, read as, how surely; worst first
    drawn: dict[str, float]  # accuracy by the set's name

    @property
    def images(self) -> int:
        """How many images it was tested on."""
        return sum(self.metrics["per_class"]["support"])

    @property
    def errors(self) -> int:
        """How many of them it reads wrong."""
        return self.images - int(np.trace(self.metrics["confusion"]))


@dataclass
class Results:
    """All that a report is written from."""

    runs: list[tuple[str, TrainingRun]] = field(default_factory=list)  # base or chosen, and the training
    sweeps: list[Sweep] = field(default_factory=list)
    models: list[Assessment] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    augmentation: tuple[list[Any], list[Any]] = ([], [])  # means, comparisons
    notes: list[dict[str, Any]] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)  # what, where

    @property
    def tested(self) -> bool:
        """Whether the models were: MNIST may not have been found."""
        return all(model.test for model in self.models)

    def studies(self, kind: str) -> list[Sweep]:
        """The studies of a kind, the one that most trials finished in first."""
        own = [sweep for sweep in self.sweeps if sweep.kind == kind]
        return sorted(own, key=lambda sweep: -len(sweep.ended("finished")))

    def main_studies(self) -> list[Sweep]:
        """The first study of each kind."""
        return [self.studies(kind)[0] for kind in dict.fromkeys(sweep.kind for sweep in self.sweeps)]


def gather(arguments: Any) -> Results:
    """Read everything; InputError for what is there but cannot be read."""
    results, folder, runs = Results(), Path(arguments.results), Path(arguments.runs)
    results.sweeps = load_sweeps(arguments.db, folder)
    sources = [("source_trials", name) for name in dict.fromkeys(s.source for s in results.sweeps)]
    for what, read, *places in (
        ("rows", read_lines, runs / "results/results.jsonl", folder / "models.jsonl"),
        (
            "augmentation",
            read_augmentation,
            runs / "augmentation/results.jsonl",
            folder / "augmentation.jsonl",
        ),
        ("notes", read_notes, folder / f"notes.{arguments.lang}.json", folder / "notes.json"),
    ):
        for path in [place for place in places if place.is_file()][:1]:
            setattr(results, what, read(path))
            sources.append((f"source_{what}", shown(path)))
    paths = {kind: default_model(kind, arguments.dataset) for kind in KINDS}
    test = load_test(arguments) if any(path.is_file() for path in paths.values()) else None
    for kind, path in paths.items():
        model = assess(kind, path, test, arguments) if path.is_file() else None
        if model:
            results.models.append(model)
            sources.append(("source_model", shown(path)))
        found = find_runs(kind, [runs, folder], arguments, model.trained_on if model else {})
        own = [(role, run) for role, run in zip(("base", "chosen"), found, strict=True) if run]
        results.runs += own
        sources += [(f"source_{role}", shown(run.folder)) for role, run in own]
    if not sources:
        raise InputError(
            "there is nothing to report on: no model in trained/ or models/, no record in "
            f"{runs} or {folder}; python train_softmax.py makes a first one."
        )
    results.sources = sorted(sources, key=lambda source: list(TEXTS).index(source[0]))
    return results


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A file of one JSON object a line."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{path} is damaged in line {number}.")
        rows.append(row)
    return rows


def read_notes(path: Path) -> list[dict[str, Any]]:
    """[{"title": {"en": ..., "es": ...}, "text": {...}}]; a text of all languages may stand alone."""
    try:
        notes = json.loads(path.read_bytes())
        if all(isinstance(note["title"], (str, dict)) and note["text"] for note in notes):
            return notes
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path} is damaged: wanted a list of objects with a title and a text.")


def read_augmentation(path: Path) -> tuple[list[Any], list[Any]]:
    """Means and paired comparisons of the experiment."""
    from experiments.augmentation import compare, load_rows, summarise

    try:
        rows = load_rows(path)
        return summarise(rows), compare(rows)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds no rows of the augmentation experiment ({error!r}).") from error


def find_runs(
    kind: str, folders: Sequence[Path], arguments: Any, trained_on: Mapping[str, Any]
) -> tuple[TrainingRun | None, TrainingRun | None]:
    """The latest run of the default configuration, and of the chosen one: a trial's, else the model's own.

    A run on as many images as the report is asked for goes before others, one's own before the toolkit's.
    """
    from toolkit import tracking

    found = []
    for own, place in zip((True, False), folders, strict=True):
        for path in sorted(place.glob(f"train-{kind}*/config.json")):
            record = tracking.read_config(path.parent)
            asked, metrics = record["config"], read_object(path.with_name("metrics.json"))
            if asked.get("dataset", "mnist") != arguments.dataset or metrics.get("status") != "finished":
                continue
            run = TrainingRun(path.parent, kind, record, tracking.read_epochs(path.parent), metrics)
            rank = (asked.get("limit") == arguments.limit, own, str(record.get("started", "")))
            found.append((rank, run))
    runs = [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]
    default = importlib.import_module(f"train_{kind}").CONFIG
    fitted = [run for run in runs if not run.asked.get("final")]
    plain = [run for run in fitted if run.asked.get("from_trial") is None]
    base = next((run for run in plain if agree(run.asked["config"], default)), None)
    others = [run for run in [*fitted, *runs] if run is not base]
    chosen = [run for run in others if run.asked.get("from_trial") is not None]
    wanted = trained_on.get("config", {})
    if not agree(wanted, default):
        chosen += [run for run in others if agree(run.asked["config"], wanted)]
    return base, chosen[0] if chosen else None


def agree(one: Mapping[str, Any], other: Mapping[str, Any], *, but: Sequence[str] = ()) -> bool:
    """Whether two configurations are the same in all entries that both have, and that decide the result.

    An entry that only one of them knows is one that another version lacks; new ones are off by default.
    """
    names = set(one) & set(other) - OF_THE_MACHINE - set(but)
    return bool(names) and all(_plain(one[name]) == _plain(other[name]) for name in names)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # as JSON has it


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    if not path.is_file():
        return {}
    with contextlib.suppress(ValueError):
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            return content
    raise InputError(f"{path} is damaged.")


def load_sweeps(db: str, folder: Path) -> list[Sweep]:
    """The studies of the database, and of the exported tables those of kinds that it has no trial of."""
    sweeps = []
    missing = db == study.DEFAULT_DB and not Path(db.removeprefix("sqlite:///")).is_file()
    for name in [] if missing else study.study_names(db):
        with study.open_study(db, name) as opened:
            url, kind = opened.url, opened.info.get("model", name)
            sqlite = url.get_backend_name() == "sqlite"
            source = shown(str(url.database)) if sqlite else url.render_as_string()  # without the password
            sweeps.append(Sweep(name, kind, opened.records(), source))
    kinds = {sweep.kind for sweep in sweeps if sweep.ended("finished")}
    for path in sorted(folder.glob("*_trials.csv")):
        sweeps += [sweep for sweep in read_trials(path) if sweep.kind not in kinds]
    return [sweep for sweep in sweeps if sweep.trials]


def read_trials(path: Path) -> list[Sweep]:
    """The studies of a table that `pareto.py --csv` wrote, their trials as `study.record_of` gives them."""
    studies: dict[str, list[dict[str, Any]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                trial: dict[str, Any] = {"config": {}, "trial_parameters": {}}
                for name, text in row.items():
                    group, _, entry = name.partition(".")
                    place = {"config": "config", "parameter": "trial_parameters"}.get(group if entry else "")
                    if text:
                        (trial[place] if place else trial)[entry if place else name] = _cell(text)
                trial["number"], trial["state"] = int(row["number"]), row["state"]
                studies.setdefault(row["study"], []).append(trial)
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise InputError(f"{path} holds no trials as pareto.py --csv writes them ({error!r}).") from error
    kind, source = path.stem.removesuffix("_trials"), shown(path)
    return [Sweep(name, name if name in KINDS else kind, own, source) for name, own in studies.items()]


def _cell(text: str) -> Any:
    """A value as it was before it became text."""
    for read in (int, float, {"True": True, "False": False}.__getitem__):
        with contextlib.suppress(ValueError, KeyError):
            return read(text)
    if text.startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(text.replace("'", '"'))
    return text


def load_test(arguments: Any) -> ImageSet | None:
    """The test split; None where MNIST is not found and cannot be downloaded."""
    from toolkit import datasets

    if arguments.dataset == "mnist":
        try:
            datasets.find_mnist(arguments.data)
        except InputError:
            return None
    return datasets.load("test", dataset=arguments.dataset, data=arguments.data, limit=arguments.limit)


def assess(kind: str, path: Path, test: ImageSet | None, arguments: Any) -> Assessment:
    """Load a model, and test it."""
    from toolkit import datasets
    from toolkit.evaluation import evaluate
    from toolkit.worker import measure

    classifier = getattr(importlib.import_module(kind), KINDS[kind]).load(path)
    drawn: dict[str, float] = {}
    if path.parent == ROOT / "models":  # what is on record is of the models that come with the toolkit
        recorded = read_object(Path(arguments.results) / "models.json").get(kind, {})
        drawn = {name: float(value) for name, value in recorded.items() if are_numbers([value])}
    if arguments.drawn:
        pictures = datasets.load_drawn(arguments.drawn, part="test")
        answers = classifier.predict(pictures.images)
        drawn = {pictures.name: float((answers == pictures.labels).mean())}
    about = (kind, path, classifier.config, classifier.trained_on, path.stat().st_size)
    if test is None:
        return Assessment(*about, test="", metrics={}, latency=math.nan, mistakes=[], drawn=drawn)
    probabilities = classifier.predict_proba(test.images)
    read = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(read != test.labels)
    wrong = wrong[np.argsort(probabilities[wrong, test.labels[wrong]], kind="stable")]
    mistakes = [(test.images[i], int(test.labels[i]), int(read[i]), probabilities[i, read[i]]) for i in wrong]
    metrics = evaluate(test.labels, probabilities)
    with tempfile.TemporaryDirectory() as folder:
        latency = measure(classifier, test.images, Path(folder))["latency"]
    return Assessment(*about, test.name, metrics, latency, mistakes, drawn)


# What is computed


@dataclass(frozen=True)
class Diagnosis:
    """What the learning curves say; a figure is None where it cannot be known.

    Attributes
    ----------
    verdict : underfitting, overfitting, good_fit, or unknown without a measured choosing split.
    train_accuracy, val_accuracy : at the end, on images as they are.
    gap : by how much the accuracy on the fitting split is the higher one.
    fell : part of the choosing loss by which its mean over the last fifth of the epochs is below that of the
        fifth before.
    rose : by what part the choosing loss's mean over the last fifth is above its lowest, where the fitting
        loss fell meanwhile; else 0.
    """

    verdict: str
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    gap: float | None = None
    fell: float | None = None
    rose: float | None = None


def diagnose(epochs: Sequence[Mapping[str, float]]) -> Diagnosis:
    """Underfitting, overfitting or a good fit, by the thresholds above.

    Both splits are compared as they were evaluated: clean images, no dropout, no label smoothing. The
    loss of the training steps (`running_loss`) has all of these in it and can lie above either. Label
    smoothing lets the clean loss of both splits rise together while the network gets better: no overfitting.

    Parameters
    ----------
    epochs : as `tracking.read_epochs` gives them; one entry is enough for the rules on accuracy.
    """
    wanted = ("train_accuracy", "val_accuracy", "val_loss", "train_loss")
    known = [epoch for epoch in epochs if all(math.isfinite(epoch.get(name, math.nan)) for name in wanted)]
    if not known:
        return Diagnosis("unknown")
    fit, choose = known[-1]["train_accuracy"], known[-1]["val_accuracy"]
    fell = rose = None
    if len(known) >= FEWEST_EPOCHS:
        fifth = len(known) // 5
        losses = {split: np.array([epoch[f"{split}_loss"] for epoch in known]) for split in ("train", "val")}
        last, before = losses["val"][-fifth:].mean(), losses["val"][-2 * fifth : -fifth].mean()
        lowest = int(losses["val"].argmin())
        fell = float(1 - last / before) if before > 0 else 0.0
        learns_on = losses["train"][-fifth:].mean() < losses["train"][lowest]
        least = losses["val"][lowest]
        rose = float(last / least - 1) if learns_on and least > 0 else 0.0
    if (rose or 0) > LOSS_RISE or fit - choose > MOST_GAP:
        verdict = "overfitting"
    elif 1 - fit > MOST_FIT_ERROR or (fell or 0) > STILL_FALLING:
        verdict = "underfitting"
    else:
        verdict = "good_fit"
    return Diagnosis(verdict, fit, choose, fit - choose, fell, rose)


def diagnosis_of(run: TrainingRun) -> Diagnosis:
    """From the epochs, or the final metrics of a model that has none."""
    metrics = run.metrics
    last = {f"val_{name}": metrics.get(name, math.nan) for name in ("loss", "accuracy")}
    return diagnose(run.epochs or [{**metrics, **last}])


@dataclass(frozen=True)
class Importance:
    """Of each hyperparameter, the most important first: mean and standard deviation over the repeats.

    r2 : part of the variance of ln(loss) that the forest explains in trials it was not fitted on.
    count : of trials.
    """

    names: list[str]
    means: list[float]
    deviations: list[float]
    r2: float
    count: int


Importances = Mapping[str, "Importance | None"]  # by kind of model


def importance(sweeps: Sequence[Sweep], *, repeats: int = 5, seed: int = 0) -> Importance | None:
    """How much each hyperparameter matters to the loss in studies of one kind; None with too few trials.

    A random forest predicts ln(loss) from the parameters, with five-fold cross-validation; the importance of
    one is how much of the variance the forest loses on held-out trials when that parameter's values are
    shuffled (L. Breiman: Random forests, 2001). Optuna's evaluators take only parameters that every trial
    has; here a parameter that was not relevant in a trial has a fixed value there and is shuffled among the
    trials where it is, so that what matters about its presence counts for the parameter that decides on it.
    Pruned trials take part with the loss at which they were stopped. How many epochs a trial had, and which
    study it is of, are inputs beside the hyperparameters, in parentheses among the names where they vary.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    usable = [(sweep.name, t) for sweep in sweeps for t in [*sweep.ended("finished"), *sweep.ended("pruned")]]
    usable = [(name, trial) for name, trial in usable if 0 < number_of(trial.get("loss")) < math.inf]
    rows = [{**t["trial_parameters"], "(epochs)": t.get("epochs"), "(study)": name} for name, t in usable]
    every = dict.fromkeys(name for row in rows for name in row)
    parameters = {name: [row.get(name) for row in rows] for name in every}
    parameters = {name: own for name, own in parameters.items() if len({*own} - {None}) > 1}
    if len(usable) < FEWEST_TRIALS or not parameters:
        return None
    # Beyond guessing, how wrong a network is says nothing more of its hyperparameters.
    target = np.log([min(trial["loss"], math.log(10)) for _, trial in usable])
    if np.ptp(target) == 0:
        return None
    blocks = [_encode(values) for values in parameters.values()]
    relevant = np.array([[value is not None for value in values] for values in parameters.values()])
    edges = np.cumsum([0, *(block.shape[1] for block in blocks)])
    inputs = np.hstack(blocks)
    rng = np.random.default_rng(seed)
    shuffles, losses, errors = 10, np.zeros((repeats, len(blocks))), 0.0
    for repeat in range(repeats):
        for fit, held in KFold(5, shuffle=True, random_state=seed + repeat).split(inputs):
            forest = RandomForestRegressor(100, random_state=seed + repeat).fit(inputs[fit], target[fit])
            changed = np.tile(inputs[held], (len(blocks), shuffles, 1, 1))
            for index, copies in enumerate(changed):
                there, columns = relevant[index, held], slice(edges[index], edges[index + 1])
                for copy in copies:
                    copy[there, columns] = inputs[rng.permutation(held[there]), columns]
            right = (target[held] - forest.predict(inputs[held])) ** 2
            guesses = forest.predict(changed.reshape(-1, inputs.shape[1])).reshape(changed.shape[:3])
            losses[repeat] += ((target[held] - guesses) ** 2).mean(axis=1).sum(axis=1) - right.sum()
            errors += right.sum()
    spread, names = len(target) * target.var(), list(parameters)
    means, deviations = (losses / spread).mean(axis=0), (losses / spread).std(axis=0, ddof=1)
    order, r2 = np.argsort(-means, kind="stable"), float(1 - errors / repeats / spread)
    ordered = [names[i] for i in order]
    return Importance(ordered, means[order].tolist(), deviations[order].tolist(), r2, len(usable))


def _encode(values: Sequence[Any]) -> np.ndarray:
    """A parameter's values as columns, float (n, k): one for numbers, else one for each category."""
    there = [value for value in values if value is not None]
    if are_numbers(there):
        middle = statistics.median_low(there)
        return np.array([[middle if value is None else value] for value in values], dtype=float)
    categories = [value for value, _ in Counter(map(str, there)).most_common()]
    filled = [categories[0] if value is None else str(value) for value in values]
    return np.array([[value == category for category in categories] for value in filled], dtype=float)


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all are, truth values not being numbers."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def number_of(value: Any) -> float:
    """The value where it is a number, else NaN."""
    return float(value) if are_numbers([value]) else math.nan


def finite(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """The values of an entry that are finite numbers."""
    return [value for value in (number_of(row.get(name)) for row in rows) if math.isfinite(value)]


def chosen_trials(results: Results) -> dict[str, int]:
    """Of each kind's main study, the trial that the model's configuration comes from."""
    # The number alone might be another study's; how long, on what, and how it is stored may differ.
    but, chosen = ("epochs", "augment", "augment_parts", "copies", "half"), {}
    for model in results.models:
        own, number = model.trained_on.get("config", {}), model.trained_on.get("from_trial")
        for sweep in results.studies(model.kind)[:1]:
            for trial in sweep.ended("finished"):
                if trial["number"] == number and agree(trial.get("config", {}), own, but=but):
                    chosen[sweep.name] = number
    return chosen
