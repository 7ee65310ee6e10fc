"""What the sections of report.typ show, as numbers and names that are ready to print.

Each function takes the results, the texts and, if it has figures, `draw`: it saves a figure under a name and
returns the file's name.
"""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from toolkit import figures
from toolkit.metrics import METRICS
from toolkit.report import diagnosis
from toolkit.report.importance import FEWEST_TRIALS, LEAST_R2, Importance, are_numbers, finite
from toolkit.report.results import Model, Results, Training, shown
from toolkit.report.texts import Texts

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[str, "Figure"], str]
LEAST_IMPORTANCE = 0.05  # of a hyperparameter that counts as mattering
SCORES = ("precision", "recall", "f1")


def base_lines(results: Results, texts: Texts) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in results.base:
        groups.setdefault(str(row.get("row", "?")), []).append(row)
    shares = {"test": "MNIST test", "strokes": "strokes", "pictures": "pictures"}
    shares = {name: head for name, head in shares.items() if values_of(results.base, name)}
    rows = []
    for command, own in groups.items():
        cells = [command, str(len(own))]
        for name in shares:
            values = values_of(own, name) or [math.nan]
            spread = statistics.stdev(values) if len(values) > 1 else None
            cells.append(texts.points(statistics.mean(values), spread))
        for name, metric in (("seconds", "train_seconds"), ("bytes", "size")):
            cells.append(texts.metric(metric, statistics.median(values_of(own, name) or [math.nan])))
        rows.append(cells)
    return {"shares": list(shares.values()), "rows": rows}


def trainings(results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    rows, curves = [], []
    for run in results.trainings:
        found, limit, name = run.diagnosis(), run.asked.get("limit"), name_of(run, results, texts)
        cells = [
            texts.number(limit, 0) if limit else texts.word("full"),
            texts.number(len(run.epochs) or None, 0),
        ]
        cells += [texts.percent(found.train_accuracy), texts.percent(found.val_accuracy)]
        cells += [texts.points(found.gap), texts.percent(found.fell, 1), texts.percent(found.rose, 1)]
        rows.append([name, *cells, texts.word(found.verdict)])
        if len(run.epochs) > 1:
            figure = figures.learning_curve(run.epochs, label=texts.word, language=texts.language)
            file = draw(f"curves-{run.kind}-{run.role}", figure)
            curves.append({"file": file, "run": name, "verdict": texts.word(found.verdict)})
    validated = [run for run in results.trainings if "accuracy" in run.metrics]
    have_default = {run.kind for run in results.trainings if run.role == "default"}
    return {
        "limits": {
            "gap": texts.points(diagnosis.MOST_GAP),
            "rise": texts.percent(diagnosis.LOSS_RISE, 0),
            "falling": texts.percent(diagnosis.STILL_FALLING, 0),
            "error": texts.percent(diagnosis.MOST_TRAIN_ERROR, 0),
            "fewest": str(diagnosis.FEWEST_EPOCHS),
        },
        "rows": rows,
        "curves": curves,
        "heads": [name_of(run, results, texts) for run in validated],
        "validation": metric_rows([*computed(), "train_seconds"], [run.metrics for run in validated], texts),
        "missing": commands("train", [kind for kind in results.names if kind not in have_default]),
    }


def searches(
    results: Results, found: Mapping[str, Importance | None], swept: Sequence[str], texts: Texts, draw: Draw
) -> dict[str, Any]:
    rows, reasons = [], []
    for study in results.studies:
        finished, failed = study.ended("finished"), study.ended("failed")
        counts = [len(finished), len(study.ended("pruned")), len(failed)]
        states = map(str, [*counts, len(study.trials) - sum(counts)])
        loss = texts.metric("loss", min(values_of(finished, "loss"), default=None))
        accuracy = texts.metric("accuracy", max(values_of(finished, "accuracy"), default=None))
        rows.append([study.name, results.names.get(study.kind, study.kind), *states, loss, accuracy])
        told = Counter(str(trial.get("reason", "–")).strip()[:200] for trial in failed)
        reasons += [[study.name, text, str(count)] for text, count in told.most_common(5)]
    drawn = {study.name: study.trials for study in results.main_studies().values() if study.ended("finished")}
    clear = {kind: entry for kind, entry in found.items() if entry and entry.r2 >= LEAST_R2}
    searched = {study.kind for study in results.studies}
    named = {results.names[kind]: entry for kind, entry in clear.items()}
    options: dict[str, Any] = {"label": texts.word, "language": texts.language}
    return {
        "rows": rows,
        "reasons": reasons,
        "history": draw("history", figures.history(drawn, **options)) if drawn else None,
        "importance": draw("importance", figures.importance(named, **options)) if named else None,
        "trust": "; ".join(f"{name} {texts.number(e.r2, 2)} ({e.count})" for name, e in named.items()),
        "best": [row for kind, entry in clear.items() for row in _best_values(kind, entry, results, texts)],
        "few": [results.names[kind] for kind, entry in found.items() if entry is None],
        "unclear": [
            {"kind": kind, "r2": texts.number(entry.r2, 2)}
            for kind, entry in found.items()
            if entry and kind not in clear
        ],
        "fewest": str(FEWEST_TRIALS),
        "missing": commands("sweep", [kind for kind in swept if kind not in searched]),
    }


def _best_values(kind: str, entry: Importance, results: Results, texts: Texts) -> list[list[str]]:
    """Return rows: important hyperparameters, and what the best quarter of the trials has for them."""
    finished = [trial for study in results.studies if study.kind == kind for trial in study.ended("finished")]
    ranked = sorted((t for t in finished if values_of([t], "loss")), key=lambda trial: trial["loss"])
    rows = []
    for name in mattering(entry):
        values = [t["trial_parameters"][name] for t in ranked if name in t["trial_parameters"]]
        values = values[: -(-len(values) // 4)]
        if values and are_numbers(values):
            ends = dict.fromkeys([texts.value(min(values)), texts.value(max(values))])
            text = f" {texts.word('to')} ".join(ends)
        else:
            counts = Counter(map(texts.value, values)).most_common(3)
            text = ", ".join(f"{value} ({count})" for value, count in counts)
        mean = entry.means[entry.names.index(name)]
        rows.append([results.names[kind], name, texts.number(mean, 2), text])
    return rows


def models(results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    names = [*computed(), "drawn_accuracy", "size", "latency", "parameters"]
    rows = metric_rows(names, [model.metrics for model in results.models], texts)
    there = {model.kind for model in results.models}
    if results.test:
        rows.insert(1, ["errors", *(texts.number(model.errors, 0) for model in results.models)])
    return {
        "test": results.test.name if results.test else None,
        "total": texts.number(len(results.test), 0) if results.test else "",
        "drawn": results.drawn.name if results.drawn else None,
        "heads": [results.names[model.kind] for model in results.models],
        "rows": rows,
        "each": [{**_about(m, results, texts), **_tested(m, results, texts, draw)} for m in results.models],
        "missing": commands("train", [kind for kind in results.names if kind not in there]),
    }


def _about(model: Model, results: Results, texts: Texts) -> dict[str, Any]:
    """Return where a model comes from, and its configuration."""
    trained = model.classifier.trained_on
    config = results.configs[model.kind]
    values = {**model.classifier.config.values(), **trained.get("config", {})}
    values = config.read(values).values() if values else {}
    helps = {entry.name: entry.metadata["help"] for entry in fields(config)}
    helps.update({name: text for name, text in texts.meanings.items() if name in helps})
    return {
        "kind": model.kind,
        "path": shown(model.path),
        "images": str(trained.get("images", "")),
        "count": texts.number(finite(trained.get("count")), 0),
        "seed": str(trained.get("seed")),
        "strength": texts.value(values["augment"]) if values.get("augment") else None,
        "trial": None if trained.get("from_trial") is None else str(trained["from_trial"]),
        "config": [[name, texts.value(value), helps.get(name, "")] for name, value in values.items()],
    }


def _tested(model: Model, results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    """Return what a model does on the test split."""
    test = results.test
    if test is None or model.probabilities is None:
        return {"confusion": None, "mistakes": None}
    per_class = model.metrics["per_class"]
    lines = [[str(d), *(per_class[name][d] for name in SCORES), per_class["support"][d]] for d in range(10)]
    lines += [[texts.word("mean"), *(model.metrics[f"macro_{name}"] for name in SCORES), len(test)]]
    counts = np.array(model.metrics["confusion"]) * ~np.eye(10, dtype=bool)
    places = [divmod(int(place), 10) for place in np.argsort(-counts, axis=None, kind="stable")[:3]]
    matrix = figures.confusion(model.metrics, width=7.2, label=texts.word, language=texts.language)
    asked: dict[str, Any] = {"most": 10, "columns": 10, "language": texts.language}
    worst = figures.mistakes(test.images, test.labels, model.probabilities, **asked)
    return {
        "confusion": draw(f"confusion-{model.kind}", matrix),
        "mistakes": draw(f"mistakes-{model.kind}", worst) if model.errors else None,
        "confused": ", ".join(f"{t} → {r} ({counts[t, r]})" for t, r in places if counts[t, r]),
        "digits": [
            [digit, *map(texts.points, scores), texts.number(support, 0)] for digit, *scores, support in lines
        ],
    }


def reproduce(results: Results, texts: Texts) -> dict[str, Any]:
    recorded = [str(run.record["command"]) for run in results.trainings if "command" in run.record]
    # Without what belongs to the place where it ran.
    bare = [re.sub(r" --(quiet|(data|output|wandb)[ =]\S+)", "", command) for command in recorded]
    lines = [f"python {command}" for command in bare]
    for study in results.studies:
        name = "" if study.name == study.kind else f" --study {shlex.quote(study.name)}"
        seed = "".join(f" --seed {int(value)}" for value in sorted(values_of(study.trials, "seed"))[:1])
        lines.append(f"python sweep_{study.kind}.py --trials {len(study.trials)}{name}{seed}")
    lines += ["python bench/results.py --data DIR --drawn FILE"] if results.base else []
    lines += ["python experiments/augmentation.py --drawn FILE"] if results.means else []
    lines += [f"python test_{model.kind}.py" for model in results.models]
    lines += [f"python report.py --lang {texts.language}"]
    rows = []
    for run in results.trainings:
        record = run.record
        cells = [str(record.get("started", "–"))[:10], str(run.asked.get("seed", "–"))]
        cells += [str(record.get("commit") or "–")[:8]]
        cells += [f"{record.get('processor', '–')} × {record.get('processors', '–')}"]
        rows.append([name_of(run, results, texts), *cells])
    versions: dict[str, dict[str, None]] = {}
    for record in [run.record for run in results.trainings] + [
        m.classifier.trained_on for m in results.models
    ]:
        for name, version in record.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    return {
        "commands": list(dict.fromkeys(lines)),
        "rows": rows,
        "versions": ", ".join(f"{name} {' / '.join(numbers)}" for name, numbers in versions.items()),
        "sources": [
            [what, ", ".join(where for other, where in results.sources if other == what)]
            for what in dict.fromkeys(what for what, _ in results.sources)
        ],
    }


def summary(results: Results, found: Mapping[str, Importance | None], texts: Texts) -> dict[str, Any]:
    """Return the key findings. Models are named by their kind, for the texts to add an article."""
    tested = sorted(results.models, key=lambda model: model.errors) if results.test else []

    def best(name: str, among: Sequence[Model]) -> list[str]:
        pick = max if METRICS[name].maximize else min
        model = pick(among, key=lambda model: model.metrics[name])
        return [model.kind, texts.metric(name, model.metrics[name])]

    extremes = ("worst_recall", "size", "latency") if len(tested) > 1 else ()
    verdicts: dict[str, list[str]] = {}
    for run in results.trainings:
        verdicts.setdefault(texts.word(run.diagnosis().verdict), []).append(name_of(run, results, texts))
    return {
        "models": [
            [m.kind, texts.metric("accuracy", m.metrics["accuracy"]), texts.number(m.errors, 0)]
            for m in tested
        ],
        "extremes": {name: best(name, tested) for name in extremes},
        "drawn": best("drawn_accuracy", results.models) if results.drawn and results.models else None,
        "augmentation": [
            _effect(entry, texts)
            for entry in results.comparisons
            if entry.setting == "all" and entry.test_set == "framed" and entry.low is not None
        ],
        "importance": [{"kind": kind, "names": mattering(e)[:3]} for kind, e in found.items() if e],
        "verdicts": list(verdicts.items()),
    }


def mattering(entry: Importance) -> list[str]:
    """Return the hyperparameters that matter, the most important first; [] if the trials do not show any."""
    bars = zip(entry.names, entry.means, entry.deviations, strict=True)
    sure = [name for name, mean, deviation in bars if mean > max(deviation, LEAST_IMPORTANCE)]
    return [name for name in sure if name[0] != "("] if entry.r2 >= LEAST_R2 else []


def _effect(entry: Any, texts: Texts) -> dict[str, str]:
    """Return whether augmentation raises or lowers the accuracy of a model, or neither for sure."""
    ends = [entry.difference, entry.low, entry.high]
    effect = "raises" if entry.low > 0 else "lowers" if entry.high < 0 else "unclear"
    if effect == "lowers":
        ends = [-entry.difference, -entry.high, -entry.low]
    numbers = dict(zip(("difference", "low", "high"), map(texts.points, ends), strict=True))
    return {"kind": entry.model, "effect": effect, **numbers}


def computed() -> list[str]:
    """Return the names of the metrics that follow from labels and probabilities."""
    return [name for name, metric in METRICS.items() if metric.compute]


def metric_rows(names: Sequence[str], columns: Sequence[Mapping[str, Any]], texts: Texts) -> list[list[str]]:
    """Return a row for each metric that any of the columns has: its label, and the values."""
    there = [name for name in names if any(name in column for column in columns)]
    return [[METRICS[n].label, *(texts.metric(n, column.get(n)) for column in columns)] for n in there]


def commands(stage: str, kinds: Sequence[str]) -> list[str]:
    """Return the commands that make what is missing."""
    return [f"python {stage}_{kind}.py" for kind in kinds]


def name_of(run: Training, results: Results, texts: Texts) -> str:
    """Name a training in tables and captions."""
    return f"{results.names[run.kind]}, {texts.word(run.role)}"


def values_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return the values of an entry that are finite numbers."""
    return [value for row in rows if math.isfinite(value := finite(row.get(name)))]
