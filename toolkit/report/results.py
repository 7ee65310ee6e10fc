"""The results that the report is about: trained models, records of trainings, trials of sweeps, notes."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from classifier import Classifier
from toolkit import commandline, datasets, drawings, evaluation, files, tracking
from toolkit.config import Config
from toolkit.datasets import ImageSet
from toolkit.files import InputError
from toolkit.report.diagnosis import Diagnosis, diagnose

import numpy as np

NO_MATTER = ("jobs", "device")  # entries of a configuration that change no result
# Entries in which a final training may differ from its trial.
FREE = ("epochs", "augment", "augment_parts", "copies", "half")


@dataclass(frozen=True)
class Study:
    """The trials of a sweep: dicts with number, state, config, trial_parameters and all metrics."""

    name: str
    kind: str
    trials: list[dict[str, Any]]
    source: str

    def ended(self, state: str) -> list[dict[str, Any]]:
        return [trial for trial in self.trials if trial["state"] == state]


@dataclass(frozen=True)
class Training:
    """The record of a finished training.

    Attributes
    ----------
    role : "default" or "chosen", for its configuration.
    record : its config.json; the entry "config" says what was asked for.
    """

    kind: str
    role: str
    folder: Path
    record: dict[str, Any]
    metrics: dict[str, Any]

    @cached_property
    def epochs(self) -> list[dict[str, float]]:
        return tracking.read_epochs(self.folder)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis of its epochs, or of the final metrics of a model that has none."""
        last = {f"val_{name}": self.metrics.get(name, math.nan) for name in ("loss", "accuracy")}
        return diagnose(self.epochs or [{**self.metrics, **last}])


@dataclass(frozen=True)
class Model:
    """A model, its metrics, and its probabilities, float (n, 10), on the test split; None if not tested."""

    kind: str
    path: Path
    classifier: Classifier
    metrics: dict[str, Any]
    probabilities: np.ndarray | None

    @property
    def answers(self) -> np.ndarray:
        """The digit that it reads in each test image, int (n,)."""
        assert self.probabilities is not None, "the model was not tested"
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def errors(self) -> int:
        confusion = np.array(self.metrics["confusion"])
        return int(confusion.sum() - confusion.trace())


@dataclass
class Results:
    """Everything that the report is about.

    Attributes
    ----------
    names, configs : kind -> name of the classifier, and class of its training's configuration.
    test, drawn : the images that the models were tested on.
    base, alternatives : lines of `bench/results.py` and of `bench/softmax_alternatives.py`.
    means, comparisons : of the augmentation experiment; `test_sets` has the titles of its test sets, and
        `augmented` each kind's configuration in it.
    notes : rows of a table; empty unless all results are the toolkit's own.
    sources : what was found -> where.
    reference : those of these places that come with the toolkit.
    """

    names: Mapping[str, str]
    configs: Mapping[str, type[Config]]
    test: ImageSet | None = None
    drawn: ImageSet | None = None
    models: list[Model] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    base: list[dict[str, Any]] = field(default_factory=list)
    alternatives: list[dict[str, Any]] = field(default_factory=list)
    means: list[Any] = field(default_factory=list)
    comparisons: list[Any] = field(default_factory=list)
    test_sets: Mapping[str, str] = field(default_factory=dict)
    augmented: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[list[str]] = field(default_factory=list)
    sources: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    reference: set[str] = field(default_factory=set)

    def add_source(self, what: str, place: Path | str, *, reference: bool) -> None:
        """Note where something was found, and whether it came with the toolkit."""
        place = place if isinstance(place, str) else commandline.shown(place)
        if place not in self.sources[what]:
            self.sources[what].append(place)
        if reference:
            self.reference.add(place)

    @property
    def own(self) -> bool:
        """Whether any result is the user's."""
        return any(place not in self.reference for places in self.sources.values() for place in places)

    def is_reference(self, place: Path | str) -> bool:
        """Whether a result must be labelled: it came with the toolkit, and others are the user's."""
        place = place if isinstance(place, str) else commandline.shown(place)
        return self.own and place in self.reference

    def main_studies(self) -> dict[str, Study]:
        """Return each kind's study with the most finished trials."""
        by_count = sorted(self.studies, key=lambda study: len(study.ended("finished")))
        return {kind: study for kind in self.names for study in by_count if study.kind == kind}

    def chosen_trials(self) -> dict[str, int]:
        """Return, by study, the number of the trial that a model's configuration comes from."""
        chosen, studies = {}, self.main_studies()
        for model in self.models:
            trained, study = model.classifier.trained_on, studies.get(model.kind)
            for trial in study.ended("finished") if study else []:
                # The number alone might be another study's.
                configs = trial["config"], trained.get("config", {})
                is_it = trial["number"] == trained.get("from_trial")
                if study and is_it and same(self.configs[model.kind], *configs, but=FREE):
                    chosen[study.name] = trial["number"]
        return chosen


def load_images(arguments: Any) -> tuple[ImageSet | None, ImageSet | None]:
    """Load the test split, None if MNIST is nowhere and cannot be downloaded, and the drawings, if any."""
    drawn = drawings.load_drawn(arguments.drawn, "test") if arguments.drawn else None
    if arguments.dataset == datasets.DEFAULT:
        try:
            datasets.find_mnist(arguments.data)
        except InputError:
            return None, drawn
    where = {"dataset": arguments.dataset, "data": arguments.data, "limit": arguments.limit}
    return datasets.load("test", **where), drawn


def test_model(
    kind: str, path: Path, model: type[Classifier], test: ImageSet | None, drawn: ImageSet | None
) -> Model:
    """Load a model, and test it on the images that there are."""
    classifier = model.load(path)
    metrics: dict[str, Any] = {"size": path.stat().st_size, "parameters": classifier.parameters()}
    probabilities = None
    if test is not None:
        probabilities = classifier.predict_proba(test.images)
        metrics |= evaluation.evaluate(test.labels, probabilities)
        metrics |= evaluation.measure(classifier, test.images)
    if drawn is not None:
        metrics["drawn_accuracy"] = float((classifier.predict(drawn.images) == drawn.labels).mean())
    return Model(kind, path, classifier, metrics, probabilities)


def find_trainings(
    kind: str,
    config: type[Config],
    folders: Sequence[Path],
    *,
    dataset: str,
    limit: int | None,
    model: Mapping[str, Any],
) -> list[Training]:
    """Return the latest training of the default configuration and that of the chosen one, if they exist.

    A training on as many images as the report is about goes before others, and one in an earlier folder
    before one in a later folder.

    Parameters
    ----------
    config : the class of the training's configurations.
    model : the configuration of the kind's model. The chosen one is that of a trial, else this one.
    """
    candidates: list[tuple[tuple[Any, ...], Training]] = []
    for preference, folder in enumerate(folders):
        for path in sorted(folder.glob(f"train-{kind}*/config.json")):
            record, results = tracking.read_config(path.parent), path.with_name("metrics.json")
            metrics = tracking.current_names(files.read_json(results)) if results.is_file() else {}
            asked = record["config"]
            if asked.get("dataset", "mnist") != dataset or metrics.get("status") != "finished":
                continue
            if not isinstance(asked.get("config"), dict):
                raise InputError(f"{path} is damaged.")
            of_trial, final = asked.get("from_trial") is not None, bool(asked.get("final"))
            is_default = same(config, asked["config"], {})
            if of_trial or (not is_default and same(config, asked["config"], model)):
                role = "chosen"
            elif is_default and not final:
                role = "default"
            else:
                continue
            # A final training has no validation split, so it comes last.
            rank = of_trial, not final, asked.get("limit") == limit, -preference, str(record.get("started"))
            candidates.append((rank, Training(kind, role, path.parent, record, metrics)))
    best = {run.role: run for _, run in sorted(candidates, key=lambda candidate: candidate[0])}
    return [best[role] for role in ("default", "chosen") if role in best]


def same(
    config: type[Config], one: Mapping[str, Any], other: Mapping[str, Any], *, but: Sequence[str] = ()
) -> bool:
    """Whether two configurations lead to the same result, whatever versions wrote them.

    What one of them lacks has its default there. Entries named in `but` may differ.
    """
    try:
        values = [config.read(given).values() for given in (one, other)]
    except InputError:
        return False
    return all(values[0][name] == values[1][name] for name in {*values[0]} - {*NO_MATTER, *but})


def read_notes(path: Path, language: str) -> list[list[str]]:
    """Return rows of a table: what was tried, on MNIST, on drawings, and what came of it.

    The file holds [{"tried": {"en": ..., "es": ...}, "mnist": ..., "drawings": ..., "result": {...}}, ...].
    A text of all languages may stand alone, or be left out. Raises InputError for a file of another shape.
    """

    def translated(text: Any) -> str:
        chosen = text if isinstance(text, str) else text.get(language) or next(iter(text.values()))
        return chosen.replace(" %", "\N{NO-BREAK SPACE}%")

    try:
        notes = json.loads(path.read_bytes())
        columns = ("tried", "mnist", "drawings", "result")
        return [[translated(note.get(name, "–")) for name in columns] for note in notes]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration):
        raise InputError(f"{path} is damaged: wanted a list of objects, as in results/notes.json.") from None
