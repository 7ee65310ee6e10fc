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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from toolkit import figures
from toolkit.commandline import shown
from toolkit.metrics import METRICS
from toolkit.report import diagnosis
from toolkit.report.importance import FEWEST_TRIALS, Importance, are_numbers, finite
from toolkit.report.results import Model, Results, Training
from toolkit.report.texts import Texts

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[str, "Figure"], str]
SCORES = ("precision", "recall", "f1")


def base_lines(results: Results, texts: Texts) -> dict[str, Any]:
    shares = {"test": "MNIST test", "strokes": "strokes", "pictures": "pictures"}
    shares = {name: head for name, head in shares.items() if values_of(results.base, name)}
    rows = []
    for command in dict.fromkeys(row.get("row") for row in results.base):
        own = [row for row in results.base if row.get("row") == command]
        cells = [str(command), str(len(own)), *(texts.mean(values_of(own, name)) for name in shares)]
        for name, metric in (("seconds", "train_seconds"), ("bytes", "size")):
            cells.append(texts.metric(metric, statistics.median(values_of(own, name) or [math.nan])))
        rows.append(cells)
    return {"shares": list(shares.values()), "rows": rows}


def trainings(results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    rows, curves = [], []
    for run in results.trainings:
        found, limit = run.diagnosis, run.record["config"].get("limit")
        name, verdict = name_of(run, results, texts), texts.word(found.verdict)
        images = texts.number(limit, 0) if limit else texts.word("full")
        shares = [
            texts.percent(found.train_accuracy),
            texts.percent(found.val_accuracy),
            texts.points(found.gap),
        ]
        course = [texts.percent(found.fell, 1), texts.percent(found.rose, 1)]
        rows.append([name, images, texts.number(len(run.epochs) or None, 0), *shares, *course, verdict])
        if len(run.epochs) > 1:
            figure = figures.learning_curve(run.epochs, **texts.for_figures)
            file = draw(f"curves-{run.kind}-{run.role}", figure)
            curves.append({"file": file, "run": name, "verdict": verdict})
    validated = [run for run in results.trainings if "accuracy" in run.metrics]
    have_default = [run.kind for run in results.trainings if run.role == "default"]
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
        "missing": missing("train", results.names, have_default),
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
    clear = {kind: entry for kind, entry in found.items() if entry and entry.clear}
    named = {results.names[kind]: entry for kind, entry in clear.items()}
    return {
        "rows": rows,
        "reasons": reasons,
        "history": draw("history", figures.history(drawn, **texts.for_figures)) if drawn else None,
        "importance": draw("importance", figures.importance(named, **texts.for_figures)) if named else None,
        "trust": "; ".join(f"{name} {texts.number(e.r2, 2)} ({e.count})" for name, e in named.items()),
        "matter": [{"kind": kind, "names": list(e.mattering())[:3]} for kind, e in found.items() if e],
        "best": [row for kind, entry in clear.items() for row in _best_values(kind, entry, results, texts)],
        "few": [results.names[kind] for kind, entry in found.items() if entry is None],
        "unclear": [
            {"kind": kind, "r2": texts.number(e.r2, 2)} for kind, e in found.items() if e and not e.clear
        ],
        "fewest": str(FEWEST_TRIALS),
        "missing": missing("sweep", swept, [study.kind for study in results.studies]),
    }


def _best_values(kind: str, entry: Importance, results: Results, texts: Texts) -> list[list[str]]:
    """Return rows: important hyperparameters, and what the best quarter of the trials has for them."""
    finished = [trial for study in results.studies if study.kind == kind for trial in study.ended("finished")]
    ranked = sorted((t for t in finished if values_of([t], "loss")), key=lambda trial: trial["loss"])
    rows = []
    for name, mean in entry.mattering().items():
        values = [t["trial_parameters"][name] for t in ranked if name in t["trial_parameters"]]
        values = values[: -(-len(values) // 4)]
        if values and are_numbers(values):
            ends = dict.fromkeys([texts.value(min(values)), texts.value(max(values))])
            text = f" {texts.word('to')} ".join(ends)
        else:
            counts = Counter(map(texts.value, values)).most_common(3)
            text = ", ".join(f"{value} ({count})" for value, count in counts)
        rows.append([results.names[kind], name, texts.number(mean, 2), text])
    return rows


def models(results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    names = [*computed(), "drawn_accuracy", "size", "latency", "parameters"]
    rows = metric_rows(names, [model.metrics for model in results.models], texts)
    if results.test:
        rows.insert(1, ["errors", *(texts.number(model.errors, 0) for model in results.models)])
    return {
        "test": results.test.name if results.test else None,
        "total": texts.number(len(results.test), 0) if results.test else "",
        "drawn": results.drawn.name if results.drawn else None,
        "heads": [results.names[model.kind] for model in results.models],
        "rows": rows,
        "each": [{**_about(m, results, texts), **_tested(m, results, texts, draw)} for m in results.models],
        "missing": missing("train", results.names, [model.kind for model in results.models]),
    }


def _about(model: Model, results: Results, texts: Texts) -> dict[str, Any]:
    """Return where a model comes from, its metrics, and its configuration."""
    trained, config = model.classifier.trained_on, results.configs[model.kind]
    values = {**model.classifier.config.values(), **trained.get("config", {})}
    values = config.read(values).values() if values else {}
    helps = {entry.name: entry.metadata["help"] for entry in fields(config)} | texts.meanings
    return {
        "kind": model.kind,
        "path": shown(model.path),
        "images": str(trained.get("images", "")),
        "count": texts.number(finite(trained.get("count")), 0),
        "seed": str(trained.get("seed")),
        "strength": texts.value(values["augment"]) if values.get("augment") else None,
        "trial": None if trained.get("from_trial") is None else str(trained["from_trial"]),
        "config": [[name, texts.value(value), helps.get(name, "")] for name, value in values.items()],
        "metrics": {
            name: {"value": value, "text": texts.metric(name, value)}
            for name, value in model.metrics.items()
            if name in METRICS
        },
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
    matrix = figures.confusion(model.metrics, width=7.2, **texts.for_figures)
    asked: dict[str, Any] = {"most": 10, "columns": 10, "language": texts.language}
    worst = figures.mistakes(test.images, test.labels, model.probabilities, **asked)
    return {
        "errors": texts.number(model.errors, 0),
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
    lines = [
        "python " + re.sub(r" --(quiet|(data|output|wandb)[ =]\S+)", "", command) for command in recorded
    ]
    for study in results.studies:
        name = "" if study.name == study.kind else f" --study {shlex.quote(study.name)}"
        seed = "".join(f" --seed {int(value)}" for value in sorted(values_of(study.trials, "seed"))[:1])
        lines.append(f"python sweep_{study.kind}.py --trials {len(study.trials)}{name}{seed}")
    lines += ["python bench/results.py"] if results.base else []
    lines += ["python experiments/augmentation.py"] if results.means else []
    lines += [f"python test_{model.kind}.py" for model in results.models]
    rows = []
    for run in results.trainings:
        record = run.record
        date, commit = str(record.get("started", "–"))[:10], str(record.get("commit") or "–")[:8]
        processor = f"{record.get('processor', '–')} × {record.get('processors', '–')}"
        seed = str(record["config"].get("seed", "–"))
        rows.append([name_of(run, results, texts), date, seed, commit, processor])
    records = [run.record for run in results.trainings] + [m.classifier.trained_on for m in results.models]
    versions: dict[str, dict[str, None]] = {}
    for name, version in (pair for record in records for pair in record.get("versions", {}).items()):
        versions.setdefault(name, {})[str(version)] = None
    return {
        "commands": [*dict.fromkeys(lines), f"python report.py --lang {texts.language}"],
        "rows": rows,
        "versions": ", ".join(f"{name} {' / '.join(numbers)}" for name, numbers in versions.items()),
        "sources": [[what, ", ".join(places)] for what, places in results.sources.items()],
    }


def computed() -> list[str]:
    """Return the names of the metrics that follow from labels and probabilities."""
    return [name for name, metric in METRICS.items() if metric.compute]


def metric_rows(names: Sequence[str], columns: Sequence[Mapping[str, Any]], texts: Texts) -> list[list[str]]:
    """Return a row for each metric that any of the columns has: its label, and the values."""
    there = [name for name in names if any(name in column for column in columns)]
    return [[METRICS[n].label, *(texts.metric(n, column.get(n)) for column in columns)] for n in there]


def missing(stage: str, wanted: Iterable[str], there: Sequence[str]) -> list[str]:
    """Return the commands that make what is missing of the wanted kinds."""
    return [f"python {stage}_{kind}.py" for kind in wanted if kind not in there]


def name_of(run: Training, results: Results, texts: Texts) -> str:
    """Name a training in tables and captions."""
    return f"{results.names[run.kind]}, {texts.word(run.role)}"


def values_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return the values of an entry that are finite numbers."""
    return [value for row in rows if math.isfinite(value := finite(row.get(name)))]
