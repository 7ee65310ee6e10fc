"""What the sections of report.typ show, as numbers and names that are ready to print.

Each function takes the results, the texts and, if it has figures, `draw`: it saves a figure under a name and
returns the file's name. `sweeps` and `discussion` hold the other sections.
"""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from toolkit import figures
from toolkit.commandline import shown
from toolkit.metrics import METRICS
from toolkit.report import diagnosis
from toolkit.report.importance import finite
from toolkit.report.results import NO_MATTER, Model, Results, Training
from toolkit.report.texts import Texts, capital
from toolkit.training import Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[str, "Figure"], str]
SCORES = ("precision", "recall", "f1")
BASE = ("macro_precision", "macro_recall", "macro_f1", "log_loss", "accuracy")


def base_lines(results: Results, texts: Texts) -> dict[str, Any]:
    measured = {"test": "MNIST test", "strokes": "strokes", "pictures": "pictures"}
    measured = {name: head for name, head in measured.items() if values_of(results.base, name)}
    commands = []
    for command in dict.fromkeys(row.get("row") for row in results.base):
        own = [row for row in results.base if row.get("row") == command]
        cells = [str(command), str(len(own)), *(texts.mean(values_of(own, name)) for name in measured)]
        for name, metric in (("seconds", "train_seconds"), ("bytes", "size")):
            cells.append(texts.metric(metric, statistics.median(values_of(own, name) or [math.nan])))
        commands.append(cells)
    rows = []
    for run in (run for run in results.trainings if "accuracy" in run.metrics):
        reached = [texts.metric(name, run.metrics.get(name)) for name in BASE]
        values = results.configs[run.kind].read(run.record["config"]["config"]).values()
        rows.append([name_of(run, results, texts), configuration(values, texts), *reached])
    alternatives = []
    for row in results.alternatives:
        shares = [texts.percent(finite(row.get(split))) for split in ("validation", "test")]
        seconds = texts.metric("train_seconds", finite(row.get("seconds")))
        alternatives.append([texts.word(str(row.get("method"))), *shares, seconds])
    have = [run.kind for run in results.trainings if run.role == "default"]
    return {
        "rows": rows,
        "missing": missing("train", results.names, have),
        "shares": list(measured.values()),
        "commands": commands,
        "alternatives": alternatives,
    }


def configuration(values: Mapping[str, Any], texts: Texts, names: Sequence[str] = ()) -> str:
    """Write entries of a configuration, all that matter if none are named, in one line."""
    left_out = {*NO_MATTER, *(() if values.get("augment") else ("augment", "augment_parts", "copies"))}
    names = names or [name for name in values if name not in left_out]
    return "; ".join(
        f"{name}\N{NO-BREAK SPACE}{texts.value(values[name])}" for name in names if name in values
    )


def trainings(results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    rows, curves = [], []
    for run in results.trainings:
        found, limit = run.diagnosis, run.record["config"].get("limit")
        name, verdict = name_of(run, results, texts), texts.word(found.verdict)
        images = texts.number(limit, 0) if limit else texts.word("full")
        epochs = texts.number(len(run.epochs) or None, 0)
        rows.append([name, images, epochs, *judged(found, texts), verdict])
        if len(run.epochs) > 1:
            figure = figures.learning_curve(run.epochs, **texts.for_figures)
            file = draw(f"curves-{run.kind}-{run.role}", figure)
            curves.append(
                {"file": file, "run": name, "verdict": capital(verdict), "why": because(found, texts)}
            )
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
    }


def judged(found: diagnosis.Diagnosis, texts: Texts) -> list[str]:
    """Return the numbers that a diagnosis rests on."""
    shares = [texts.percent(found.train_accuracy), texts.percent(found.val_accuracy), texts.points(found.gap)]
    return [*shares, texts.percent(found.fell, 1), texts.percent(found.rose, 1)]


def because(found: diagnosis.Diagnosis, texts: Texts) -> dict[str, Any]:
    """Return the sentence that says why a diagnosis was made."""
    once = "_once" if found.fell is None and found.why in ("good", "error") else ""  # no course of the loss
    return sentence(
        f"because_{found.why}{once}",
        train=texts.percent(found.train_accuracy),
        val=texts.percent(found.val_accuracy),
        gap=texts.points(found.gap),
        fell=texts.percent(found.fell, 0),
        rose=texts.percent(found.rose, 0),
    )


def models(results: Results, texts: Texts, draw: Draw) -> dict[str, Any]:
    names = [*computed(), "drawn_accuracy", "size", "latency", "parameters"]
    rows = metric_rows(names, [model.metrics for model in results.models], texts)
    if results.test:
        rows.insert(1, ["errors", *(texts.number(model.errors, 0) for model in results.models)])
    return {
        "test": results.test.name if results.test else None,
        "total": texts.number(len(results.test), 0) if results.test else "",
        "drawn": results.drawn.name if results.drawn else None,
        "heads": [labelled(results.names[m.kind], results, m.path, texts) for m in results.models],
        "rows": rows,
        "each": [{**_about(m, results, texts), **_tested(m, results, texts, draw)} for m in results.models],
        "missing": missing("train", results.names, [model.kind for model in results.models]),
    }


def _about(model: Model, results: Results, texts: Texts) -> dict[str, Any]:
    """Return where a model comes from, and its configuration."""
    trained, config = model.classifier.trained_on, results.configs[model.kind]
    values = {**model.classifier.config.values(), **trained.get("config", {})}
    values = config.read(values).values() if values else {}
    helps = {entry.name: entry.metadata["help"] for entry in fields(config)} | texts.meanings
    return {
        "kind": model.kind,
        "name": labelled(results.names[model.kind], results, model.path, texts),
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
    matrix = figures.confusion(model.metrics, width=5.8, **texts.for_figures)
    asked: dict[str, Any] = {"most": 10, "columns": 10, "language": texts.language}
    worst = figures.mistakes(test.images, test.labels, model.probabilities, **asked)
    return {
        "confusion": draw(f"confusion-{model.kind}", matrix),
        "mistakes": draw(f"mistakes-{model.kind}", worst) if model.errors else None,
        "digits": [
            [digit, *map(texts.points, scores), texts.number(support, 0)] for digit, *scores, support in lines
        ],
    }


def augmentation(results: Results, texts: Texts, draw: Draw) -> dict[str, Any] | None:
    if not results.means:
        return None
    titles = {**results.names, **results.test_sets}
    tests = list(dict.fromkeys(mean.test_set for mean in results.means))

    def word(name: str) -> str:
        return texts.word(titles.get(name, name))

    def rows_of(entries: Sequence[Any], cell: Callable[[Any], str]) -> list[list[str]]:
        rows = {(e.model, e.setting): dict.fromkeys(tests, "–") for e in entries}
        for entry in entries:
            rows[entry.model, entry.setting][entry.test_set] = cell(entry)
        return [[word(model), word(setting), *row.values()] for (model, setting), row in rows.items()]

    def mean(entry: Any) -> str:
        return texts.points(entry.mean, None if entry.high is None else entry.high - entry.mean)

    def difference(entry: Any) -> str:
        margin = None if entry.high is None else entry.high - entry.difference
        text = ("+" if entry.difference > 0 else "") + texts.points(entry.difference, margin)
        if entry.p is None:
            return text
        return f"{text} (p {'<' if entry.p < 0.001 else '='} {texts.number(max(entry.p, 0.001), 3)})"

    seeds = sorted({mean.n for mean in results.means})
    return {
        "file": draw(
            "augmentation", figures.augmentation(results.means, label=word, language=texts.language)
        ),
        "tests": [titles[name] for name in tests],
        "configurations": "; ".join(
            f"{titles[kind]}: {configuration(values, texts)}" for kind, values in results.augmented.items()
        ),
        "seeds": f" {texts.word('to')} ".join(dict.fromkeys([str(seeds[0]), str(seeds[-1])])),
        "means": rows_of(results.means, mean),
        "comparisons": rows_of(results.comparisons, difference),
    }


def reproduce(results: Results, texts: Texts) -> dict[str, Any]:
    recorded = [str(run.record["command"]) for run in results.trainings if "command" in run.record]
    recorded += [training_command(model, results) for model in results.models]
    for study in results.studies:
        name = "" if study.name == study.kind else f" --study {shlex.quote(study.name)}"
        seed = "".join(f" --seed {int(value)}" for value in sorted(values_of(study.trials, "seed"))[:1])
        rebuilt = f"sweep_{study.kind}.py --trials {len(study.trials)}{name}{seed}"
        recorded += dict.fromkeys(str(trial.get("command", rebuilt)) for trial in study.trials)
    # Without what belongs to the place where it ran.
    lines = ["python " + re.sub(r" --(quiet|(data|output|wandb|db)[ =]\S+)", "", line) for line in recorded]
    lines += ["python bench/results.py"] if results.base else []
    lines += ["python bench/softmax_alternatives.py"] if results.alternatives else []
    flags = [
        f" --{name} {results.augmented[model][name]}"
        for model, name in (("ann", "epochs"), ("svm", "copies"))
        if name in results.augmented.get(model, {})
    ]
    lines += ["python experiments/augmentation.py" + "".join(flags)] if results.means else []
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
        "sources": [
            [what, ", ".join(labelled(place, results, place, texts) for place in places)]
            for what, places in results.sources.items()
        ],
    }


def training_command(model: Model, results: Results) -> str:
    """Rebuild the command that trains a model from its file: its drawings, and what is not the default."""
    trained, config = model.classifier.trained_on, results.configs[model.kind]
    words = [f"train_{model.kind}.py"]
    for name, value in config.read(trained.get("config", {})).values().items():
        flag = name.replace("_", "-")
        if name in NO_MATTER or value == config().values()[name]:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{flag}={shlex.quote(text)}")
    words += [f"--drawings {shlex.quote(str(name))}" for name in trained.get("drawings") or []]
    if (copies := trained.get("drawing_copies", Job.drawing_copies)) != Job.drawing_copies:
        words.append(f"--drawing-copies {copies}")
    words += [f"--seed {trained['seed']}"] if trained.get("seed") else []
    return " ".join([*words, *(["--final"] if trained.get("final") else [])])


def sentence(key: str, **values: str | list[str]) -> dict[str, Any]:
    """Return a sentence for report.typ: its key in the texts, and its values; a list is of code words."""
    return {"key": key, "values": values}


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


def labelled(name: str, results: Results, place: Any, texts: Texts) -> str:
    """Return a name, marked if what bears it is not the user's own."""
    return f"{name} ({texts.word('reference')})" if results.is_reference(place) else name


def name_of(run: Training, results: Results, texts: Texts) -> str:
    """Name a training in tables and captions."""
    return labelled(f"{results.names[run.kind]}, {texts.word(run.role)}", results, run.folder, texts)


def values_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return the values of an entry that are finite numbers."""
    return [value for row in rows if math.isfinite(value := finite(row.get(name)))]
