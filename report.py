"""Write the report: report.pdf, from the results that are there, in English or Spanish.

    python report.py                             # of the models, runs and sweeps that are there
    python report.py --lang es --author "Ana Ruiz" --author "Luis Gil" --output informe.pdf
    python report.py --drawn drawings.npz        # the models on recorded drawings, too

Your own results (trained/, runs/, studies.db) go before those that come with the toolkit (models/, results/);
what is missing is named, with the command that makes it; without MNIST the models are not tested, and the
report says so. Every number comes from a file or is measured here:

    runs/train-KIND-*/, results/train-KIND*/    training records: config.json, epochs.jsonl, metrics.json
    studies.db, results/KIND_trials.csv         trials of sweeps; `pareto.py --csv` writes the latter
    trained/ or models/KIND.safetensors         the models, tested here on the test split
    runs/results/results.jsonl, results/models.jsonl              what `bench/results.py` measured
    runs/augmentation/results.jsonl, results/augmentation.jsonl   what `experiments/augmentation.py` measured
    results/models.json, results/notes.json     optional: accuracies on drawings by kind; what else was tried

Its parts: `gather.py` reads and computes, `figures.py` draws, `texts.py` has the texts in
both languages, `report.typ` the look.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pareto
from classifier import ROOT, write_safely
from toolkit import commandline, study
from toolkit.report import figures
from toolkit.report import gather as data
from toolkit.report.gather import KINDS, Assessment, Results, Sweep, TrainingRun, finite, shown
from toolkit.report.texts import LANGUAGES, Language

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_R2 = 0.1  # of the forest that importance is read from: below, the summary names no hyperparameter
LEAST_IMPORTANCE = 0.05  # of a hyperparameter that the summary names, which also exceeds its deviation
MOST_ROWS = 10  # of a front's table
PAIRS = (("accuracy", "latency"), ("worst_recall", "size"), ("accuracy", "drawn_accuracy"))

# Sections: each adds to the document what report.typ shows


class Document:
    """The blocks of the report, in order; texts by their keys, captions by what they are of."""

    def __init__(self, say: Language, folder: Path) -> None:
        self.say, self.folder = say, folder
        self.blocks: list[dict[str, Any]] = []

    def add(self, kind: str, **entries: Any) -> None:
        self.blocks.append({"kind": kind, **entries})

    def heading(self, text: str | list[Any], level: int = 1) -> None:
        self.add("heading", level=level, text=self.say(text) if isinstance(text, str) else text)

    def text(self, *texts: str | list[Any]) -> None:
        """A paragraph of keys of texts, and of texts; empty ones are left out."""
        parts = [self.say(text) if isinstance(text, str) else text for text in texts if text]
        self.add("text", text=[run for part in parts for run in (" ", *part)][1:])

    def missing(self, what: str, *commands: str) -> None:
        """The sentence in place of results that are not there, and the commands that make them."""
        self.text(f"missing_{what}", "makes_them")
        self.add("commands", lines=list(commands))

    def table(
        self, name: str, head: Sequence[Any], rows: Sequence[Any], columns: str, part: str = "", **values: Any
    ) -> None:
        """`columns`: l, r or w for each: left, right, left and as wide as there is room.

        `values` go into the caption; `part` tells tables of one name apart.
        """
        label, caption = f"tab-{name}{part and '-'}{part}", self.say(f"{name}_caption", **values)
        cells = [cell for row in rows for cell in row]
        self.add("table", label=label, caption=caption, head=list(head), cells=cells, columns=list(columns))

    def figure(self, name: str, figure: Figure, part: str = "", **values: Any) -> None:
        """A matplotlib figure, as SVG in the size that it has; `values` as in `table`."""
        label, caption = f"fig-{name}{part and '-'}{part}", self.say(f"{name}_figure", **values)
        figure.savefig(self.folder / f"{label}.svg", format="svg", metadata={"Date": None})
        # Where text goes before it, it may move to the top or the bottom of a page; below a heading it stays.
        moves, width = self.blocks[-1]["kind"] != "heading", figure.get_figwidth() * 2.54
        self.add("figure", label=label, caption=caption, file=f"{label}.svg", width=width, moves=moves)

    def pair(self) -> None:
        """Put the last two blocks side by side."""
        self.blocks[-2:] = [{"kind": "pair", "blocks": self.blocks[-2:]}]


def _code(text: str) -> list[Any]:
    return [{"code": text}]


def baseline_section(document: Document, results: Results, say: Language) -> None:
    document.heading("h_base")
    if not results.rows:
        return document.missing("rows", "python bench/results.py --data DIR")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in results.rows:
        groups.setdefault(str(row.get("row", "?")), []).append(row)
    names = [name for name in ("test", "strokes", "pictures") if finite(results.rows, name)]
    rows = []
    for command, own in groups.items():
        cells: list[Any] = [_code(command), str(len(own))]
        for name in names:
            values = finite(own, name) or [math.nan]
            spread = f" ± {say.points(statistics.stdev(values))}" if len(values) > 1 else ""
            cells.append(f"{say.points(statistics.mean(values))}{spread}")
        for name, factor, digits in (("seconds", 1, 0), ("cores", 1, 0), ("bytes", 1e-6, None)):
            cells.append(say.number(factor * statistics.median(finite(own, name) or [math.nan]), digits))
        rows.append(cells)
    shares = [f"{say.called(name)}, %" for name in names]
    head = [*say.row("command seeds"), *shares, *say.row("seconds cores megabytes")]
    document.text("base_text")
    document.table("base", head, rows, "l" + "r" * (len(head) - 1))


def training_section(document: Document, results: Results, say: Language) -> None:
    document.heading("h_training")
    if not results.runs:
        return document.missing("runs", *(f"python train_{kind}.py" for kind in KINDS))
    document.text("rules")
    shares = {"error": data.MOST_FIT_ERROR, "falling": data.STILL_FALLING, "rise": data.LOSS_RISE}
    limits: dict[str, Any] = {name: say.percent(share, 0) for name, share in shares.items()}
    limits.update(gap=say.number(100 * data.MOST_GAP), fewest=data.FEWEST_EPOCHS)
    document.add("items", items=[say(rule, **limits) for rule in ("rule_over", "rule_under", "rule_good")])
    document.text("rules_note")
    rows = []
    for role, run in results.runs:
        found, limit = data.diagnosis_of(run), run.asked.get("limit")
        cells = [say.number(limit, 0) if limit else say.plain("all"), say.number(len(run.epochs) or None, 0)]
        cells += [say.percent(found.train_accuracy), say.percent(found.val_accuracy), say.points(found.gap)]
        cells += [say.percent(found.fell, 1), say.percent(found.rose, 1)]
        rows.append([run_name(role, run, say), *cells, [{"strong": say.plain(found.verdict)}]])
    head = say.row("run images epochs train_accuracy val_accuracy gap fell rose diagnosis")
    document.table("diagnoses", head, rows, "lrrrrrrrl")
    known = [(role, run.kind) for role, run in results.runs]
    if absent := [f"python train_{kind}.py" for kind in KINDS if ("base", kind) not in known]:
        document.missing("base", *absent)
    for role, run in results.runs:
        if len(run.epochs) > 1:
            texts = {"run": run_name(role, run, say), "verdict": say.plain(data.diagnosis_of(run).verdict)}
            document.figure("curves", figures.curves_figure(run, say), part=f"{run.kind}-{role}", **texts)


def sweep_section(document: Document, results: Results, found: data.Importances, say: Language) -> None:
    document.heading("h_sweeps")
    if absent := [f"python sweep_{kind}.py" for kind in ("ann", "svm") if not results.studies(kind)]:
        document.missing("trials", *absent)
    if not results.sweeps:
        return
    rows: list[list[Any]] = []
    reasons: list[list[Any]] = []
    for sweep in results.sweeps:
        finished, failed = sweep.ended("finished"), sweep.ended("failed")
        counts = [len(finished), len(sweep.ended("pruned")), len(failed)]
        best = say.number(min(finite(finished, "loss"), default=None))
        top = say.percent(max(finite(finished, "accuracy"), default=None))
        states = map(str, [*counts, len(sweep.trials) - sum(counts)])
        rows.append([sweep.name, say.called(sweep.kind), *states, best, top])
        told = Counter(str(trial.get("reason", "–")).strip()[:200] for trial in failed)
        reasons += [[sweep.name, text, str(count)] for text, count in told.most_common(5)]
    document.text("sweeps_text")
    head = say.row("study model state_finished state_pruned state_failed state_other best_loss best_accuracy")
    document.table("sweeps", head, rows, "llrrrrrr")
    if reasons:
        document.table("reasons", say.row("study reason trials"), reasons, "lwr")
    if drawn := [sweep for sweep in results.main_studies() if sweep.ended("finished")][:3]:
        document.figure("history", figures.history_figure(drawn, say))
    document.heading("h_importance", 2)
    if known := {kind: entry for kind, entry in found.items() if entry}:
        trust = "; ".join(f"{say.called(k)} {say.number(e.r2, 2)} ({e.count})" for k, e in known.items())
        document.text("importance_text")
        document.figure("importance", figures.importance_figure(known, say), r2=trust)
        rows = []
        for kind, entry in known.items():
            bars = [bar for bar in zip(entry.names, entry.means, strict=True) if bar[0][0] != "("][:5]
            for name, mean in bars:
                values = best_values(results.studies(kind), name, say)
                rows.append([say.called(kind), _code(name), say.number(mean, 2), values])
        document.table("best", say.row("model hyperparameter importance_short best_quarter"), rows, "llrl")
    if few := ", ".join(say.called(kind) for kind, entry in found.items() if not entry):
        document.text(say("importance_few", models=few, fewest=data.FEWEST_TRIALS))


def best_values(sweeps: Sequence[Sweep], name: str, say: Language) -> str:
    """What the better quarter (by loss) of the finished trials that have a parameter chose for it."""
    usable = [t for s in sweeps for t in s.ended("finished") if name in t["trial_parameters"]]
    usable = sorted((t for t in usable if finite([t], "loss")), key=lambda trial: trial["loss"])
    values = [trial["trial_parameters"][name] for trial in usable[: -(-len(usable) // 4)]]
    if values and data.are_numbers(values):
        low, high = say.value(min(values)), say.value(max(values))
        return low if low == high else say.plain("from_to", low=low, high=high)
    counts = Counter(map(say.value, values)).most_common(3)
    return ", ".join(f"{value} ({count})" for value, count in counts)


def pareto_section(document: Document, results: Results, found: data.Importances, say: Language) -> None:
    document.heading("h_pareto")
    studies = results.main_studies()
    fronts = {pair: [pareto.Front(s.name, s.trials, pair) for s in studies] for pair in PAIRS}
    fronts = {pair: [front for front in own if front.finished] for pair, own in fronts.items()}
    fronts = {pair: own for pair, own in fronts.items() if own}
    if not fronts:
        return document.missing("fronts", "python sweep_ann.py", "python sweep_svm.py")
    chosen = data.chosen_trials(results)
    marked = ", ".join(f"{name} {number}" for name, number in chosen.items())
    document.text("pareto_text", say("pareto_chosen", trials=marked) if chosen else [])
    document.figure("fronts", figures.fronts_figure(fronts, chosen, say))
    important = {s.name: entry.names for s in studies if (entry := found[s.kind])}
    for part, (pair, own) in enumerate(fronts.items(), start=1):
        rows = []
        for front in own:
            order = np.argsort(-front.values[:, 0], kind="stable")
            for index in [i for i in order if front.optimal[i]][: MOST_ROWS // len(own) or 1]:
                trial, values = front.finished[index], front.values[index]
                parameters = trial["trial_parameters"]
                names = [name for name in important.get(front.name) or differing(front) if name in parameters]
                settings = "; ".join(f"{name} {say.value(parameters[name])}" for name in names[:4])
                reached = [say.metric(name, value) for name, value in zip(pair, values, strict=True)]
                mark = " *" if chosen.get(front.name) == trial["number"] else ""
                rows.append([front.name, f"{trial['number']}{mark}", *reached, settings])
        x, y = map(say.called, pair)
        total = sum(int(front.optimal.sum()) for front in own)
        head = [*say.row("study trial"), x, y, say.plain("main_parameters")]
        document.table("front", head, rows, "lrrrw", part=str(part), shown=len(rows), total=total, x=x, y=y)


def differing(front: pareto.Front) -> list[str]:
    """The hyperparameters that are not the same in all trials of a front."""
    parameters = [front.finished[index]["trial_parameters"] for index in np.flatnonzero(front.optimal)]
    names = dict.fromkeys(name for own in parameters for name in own)
    return [name for name in names if len({str(own.get(name)) for own in parameters}) > 1] or list(names)


def model_section(document: Document, results: Results, say: Language) -> None:
    document.heading("h_models")
    models = results.models
    if absent := [f"python train_{k}.py" for k in KINDS if k not in {model.kind for model in models}]:
        document.missing("models", *absent)
    if not models:
        return
    if results.tested:
        compare_models(document, models, say)
    else:
        document.text("missing_test")
    for model in models:
        name = say.called(model.kind)
        document.heading([name], 2)
        document.text(*provenance(model, say), confused(model, say) if results.tested else [])
        if results.tested:
            document.figure(
                "confusion", figures.confusion_figure(model.metrics, say), part=model.kind, model=name
            )
            document.table("digits", *digits_of(model, say), "lrrrr", part=model.kind, model=name)
            document.pair()
    document.heading("h_configurations", 2)
    for model in models:
        entries = {**model.config, **model.trained_on.get("config", {})}
        names = [name for name in entries if name not in data.OF_THE_MACHINE]
        pairs: list[list[Any]] = [[_code(name), say.value(entries[name])] for name in names]
        pairs += [["", ""]] * (-len(pairs) % 3)
        third = len(pairs) // 3
        rows = [[*pairs[i], *pairs[third + i], *pairs[2 * third + i]] for i in range(third)]
        values = {"part": model.kind, "model": say.called(model.kind)}
        document.table("config", say.row("entry value") * 3, rows, "lwlwlw", **values)


def compare_models(document: Document, models: Sequence[Assessment], say: Language) -> None:
    """What the models do on the test split, and the worst of their mistakes."""
    drawn = list(dict.fromkeys(name for model in models for name in model.drawn))
    rows: list[list[Any]] = []
    for model in models:
        cells = [say.percent(model.metrics["accuracy"]), say.number(model.errors, 0)]
        cells += [say.number(model.metrics["log_loss"], 4)]
        cells += [say.percent(model.metrics[name]) for name in ("macro_f1", "worst_recall")]
        cells += [say.percent(model.drawn.get(name)) for name in drawn]
        cells += [say.metric("size", model.size), say.metric("latency", model.latency)]
        rows.append([say.called(model.kind), *cells])
    head = [*say.row("model accuracy errors log_loss macro_f1 worst_recall"), *map(say.called, drawn)]
    head += say.row("file time")
    document.text(say("models_text", test=models[0].test, total=say.number(models[0].images, 0)))
    document.table("models", head, rows, "l" + "r" * (len(head) - 1))
    if any(model.mistakes for model in models):
        document.heading("h_mistakes", 2)
        document.figure("mistakes", figures.mistakes_figure(models, say))


def digits_of(model: Assessment, say: Language) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of a model's figures for each digit."""
    names, per_class = ("precision", "recall", "f1"), model.metrics["per_class"]
    lines = [*zip(*(per_class[name] for name in names), strict=True)]
    lines += [tuple(model.metrics[f"macro_{name}"] for name in names)]
    support = [*per_class["support"], model.images]
    digits = [*map(str, range(10)), say.plain("mean")]
    rows = [
        [digit, *map(say.points, line), say.number(count, 0)]
        for digit, line, count in zip(digits, lines, support, strict=True)
    ]
    return say.row("digit precision recall f1 images"), rows


def confused(model: Assessment, say: Language) -> list[Any]:
    """The digits that are most often taken for another."""
    counts = np.array(model.metrics["confusion"]) * ~np.eye(10, dtype=bool)
    places = [divmod(int(place), 10) for place in np.argsort(-counts, axis=None, kind="stable")[:3]]
    pairs = ", ".join(f"{t} → {r} ({counts[t, r]})" for t, r in places if counts[t, r])
    return say("most_frequent", pairs=pairs) if pairs else []


def run_name(role: str, run: TrainingRun, say: Language) -> str:
    return f"{say.called(run.kind)}, {say.plain(role)}"


def provenance(model: Assessment, say: Language) -> list[list[Any]]:
    """Which file, and what it was trained on."""
    trained, path = model.trained_on, shown(model.path)
    if "images" not in trained:
        return [say("trained_unknown", path=path)]
    count, strength = say.number(trained.get("count", 0), 0), trained.get("config", {}).get("augment")
    about = {"path": path, "count": count, "images": trained["images"], "seed": trained.get("seed")}
    about["augmentation"] = say.plain("with_augmentation", strength=say.value(strength)) if strength else ""
    number = trained.get("from_trial")
    return [say("trained", **about), [] if number is None else say("from_trial", number=number)]


def augmentation_section(document: Document, results: Results, say: Language) -> None:
    document.heading("h_augmentation")
    means, compared = results.augmentation
    if not means:
        return document.missing("augmentation", "python experiments/augmentation.py --drawn FILE")
    tests = list(dict.fromkeys(m.test_set for m in means))

    def rows_of(entries: Sequence[Any], cell: Callable[[Any], str]) -> list[list[str]]:
        rows = {(e.model, e.setting): dict.fromkeys(tests, "–") for e in entries}
        for entry in entries:
            rows[entry.model, entry.setting][entry.test_set] = cell(entry)
        return [[say.called(m), say.called(f"setting_{s}"), *row.values()] for (m, s), row in rows.items()]

    def plus_minus(middle: float, high: float | None) -> str:
        return say.points(middle) + ("" if high is None else f" ± {say.points(high - middle)}")

    def difference(entry: Any) -> str:
        text = ("+" if entry.difference > 0 else "") + plus_minus(entry.difference, entry.high)
        if entry.p is None:
            return text
        small = entry.p < 0.001
        return f"{text} (p {'<' if small else '='} {say.number(0.001 if small else entry.p, 3)})"

    seeds = sorted({m.n for m in means})
    head = [*say.row("model setting"), *(say.called(name) for name in tests)]
    columns = "ll" + "r" * len(tests)
    document.text(say("augmentation_text", seeds="–".join(map(str, dict.fromkeys([seeds[0], seeds[-1]])))))
    document.figure("augmentation", figures.augmentation_figure(means, say))
    document.table("augmentation", head, rows_of(means, lambda m: plus_minus(m.mean, m.high)), columns)
    if compared:
        units = ", ".join(sorted({say.called(entry.test) for entry in compared}))
        document.table("compared", head, rows_of(compared, difference), columns, units=units)


def notes_section(document: Document, results: Results, say: Language) -> None:
    if results.notes:
        document.heading("h_notes")
    for note in results.notes:
        title, text = (
            str(part.get(say.name) or next(iter(part.values()), "") if isinstance(part, dict) else part)
            for part in (note["title"], note["text"])
        )
        document.text([{"strong": f"{title.rstrip('.')}. "}, text.replace(" %", "\u00a0%")])


def reproduce_section(document: Document, results: Results, say: Language) -> None:
    document.heading("h_reproduce")
    recorded = [run.record["command"] for _, run in results.runs if "command" in run.record]
    commands = [f"python {_bare(command)}" for command in recorded]
    for sweep in results.sweeps:
        name = "" if sweep.name == sweep.kind else f" --study '{sweep.name}'"
        seed = "".join(f" --seed {int(value)}" for value in sorted(finite(sweep.trials, "seed"))[:1])
        commands.append(f"python sweep_{sweep.kind}.py --trials {len(sweep.trials)}{name}{seed}")
    commands += ["python bench/results.py --data DIR --drawn FILE"] if results.rows else []
    commands += ["python experiments/augmentation.py --drawn FILE"] if results.augmentation[0] else []
    commands += [f"python test_{model.kind}.py" for model in results.models]
    commands.append(f"python report.py --lang {say.name}")
    document.text("reproduce_text")
    document.add("commands", lines=list(dict.fromkeys(commands)))
    rows: list[list[Any]] = []
    for role, run in results.runs:
        record, seconds = run.record, say.number(data.number_of(run.metrics.get("train_seconds")), 0)
        cells = [str(record.get("started", "–"))[:10], str(run.asked.get("seed", "–")), seconds]
        machine = f"{record.get('processor', '–')} × {record.get('processors', '–')}"
        rows.append([run_name(role, run, say), *cells, _code(str(record.get("commit") or "–")[:8]), machine])
    if rows:
        document.table("runs", say.row("run started seed seconds commit machine"), rows, "llrrll")
    records = [run.record for _, run in results.runs] + [model.trained_on for model in results.models]
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    if versions:
        said = ", ".join(f"{name} {' / '.join(numbers)}" for name, numbers in versions.items())
        document.text(say("versions", versions=said))
    rows = [[say.plain(what), _code(where)] for what, where in results.sources]
    document.table("sources", say.row("source place"), rows, "ll")


def _bare(command: str) -> str:
    """A recorded command without what is of the place where it ran."""
    return re.sub(r" --(quiet\b|(data|output|wandb)[ =]\S+)", "", command)


def summary(document: Document, results: Results, found: data.Importances, say: Language) -> None:
    """The key findings, each computed from the results."""
    lines, models = [], sorted(results.models, key=lambda m: m.errors) if results.tested else []
    told = [{"model": say.called(m.kind), "errors": m.errors} for m in models]
    for entry, model in zip(told, models, strict=True):
        entry |= {"accuracy": say.percent(model.metrics["accuracy"]), "total": say.number(model.images, 0)}
    if told:
        others = [part for other in told[1:] for part in say("sum_other", **other)]
        lines.append([*say("sum_best", **told[0]), *others, "."])
    if len(models) > 1:
        worst = max(models, key=lambda model: model.metrics["worst_recall"])
        small, fast = min(models, key=lambda m: m.size), min(models, key=lambda m: m.latency)
        names = {"worst": worst.kind, "small": small.kind, "fast": fast.kind}
        values = {key: say.called(kind) for key, kind in names.items()}
        values["recall"] = say.percent(worst.metrics["worst_recall"])
        values |= {"size": say.metric("size", small.size), "latency": say.metric("latency", fast.latency)}
        lines.append(say("sum_criteria", **values))
        for name in dict.fromkeys(name for model in models for name in model.drawn):
            top = max((m for m in models if name in m.drawn), key=lambda m: m.drawn[name])
            values = {"name": say.called(name), "model": say.called(top.kind)}
            lines.append(say("sum_drawn", accuracy=say.percent(top.drawn[name]), **values))
    for entry in results.augmentation[1]:
        if entry.setting == "all" and entry.test_set != "test":
            points = {"points": entry.difference, "low": entry.low, "high": entry.high}
            values = {name: say.points(value) for name, value in points.items()}
            values |= {"model": say.called(entry.model), "test": say.called(entry.test_set)}
            lines.append(say("sum_augmentation", **values))
    for kind, importances in found.items():
        if importances:
            bars = zip(importances.names, importances.means, importances.deviations, strict=True)
            sure = [name for name, mean, deviation in bars if mean > max(deviation, LEAST_IMPORTANCE)]
            sure = [name for name in sure if name[0] != "("]
            key = "sum_importance" if importances.r2 >= LEAST_R2 and sure else "sum_unclear"
            lines.append(say(key, model=say.called(kind), names=", ".join(sure[:3])))
    verdicts: dict[str, list[str]] = {}
    for role, run in results.runs:
        verdicts.setdefault(data.diagnosis_of(run).verdict, []).append(run_name(role, run, say))
    if verdicts:
        said = "; ".join(f"{say.plain(verdict)}: {' / '.join(who)}" for verdict, who in verdicts.items())
        lines.append(say("sum_diagnoses", verdicts=said))
    if lines:
        document.text([{"strong": say.plain("sum_text")}])
        document.add("items", items=lines)


def write(results: Results, say: Language, authors: Sequence[str], folder: Path) -> bytes:
    """The report as a PDF; its figures and data go to `folder`, which must be empty."""
    import matplotlib
    import typst

    found = {sweep.kind: data.importance(results.studies(sweep.kind)) for sweep in results.main_studies()}
    front, document = Document(say, folder), Document(say, folder)
    with matplotlib.rc_context(figures.STYLE):
        summary(front, results, found, say)
        document.heading("h_method")
        document.text("method")
        baseline_section(document, results, say)
        training_section(document, results, say)
        sweep_section(document, results, found, say)
        pareto_section(document, results, found, say)
        model_section(document, results, say)
        augmentation_section(document, results, say)
        notes_section(document, results, say)
        reproduce_section(document, results, say)
    content: dict[str, Any] = {"lang": say.name, "title": say.plain("title"), "authors": list(authors)}
    content |= {"date": say.date(datetime.date.today()), "summary": front.blocks, "blocks": document.blocks}
    (folder / "document.json").write_text(json.dumps(content), encoding="utf-8")
    shutil.copy(ROOT / "toolkit" / "report" / "report.typ", folder)
    # Its own fonts alone: the same pages on every computer.
    pdf = typst.compile(str(folder / "report.typ"), root=str(folder), ignore_system_fonts=True)
    assert isinstance(pdf, bytes)
    return pdf


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    add("--lang", choices=LANGUAGES, default="en", help="language of the report")
    add("--author", action="append", metavar="NAME", help="below the title; may be given several times")
    add("--results", default="results", metavar="DIR", help="results that come with the toolkit")
    add("--runs", default="runs", metavar="DIR", help="your own runs")
    add("--db", default=study.DEFAULT_DB, metavar="URL", help="database of the studies")
    drawn = "an .npz of recorded strokes (its test part), or a folder of LABEL_anything.png"
    add("--drawn", metavar="PATH", help=f"test the models on drawings, too: {drawn}")
    add("--output", default="report.pdf", metavar="FILE", help="the report")
    add("--quiet", action="store_true", help="print errors only")
    commandline.add_data_flags(parser)
    arguments = parser.parse_args(argv)
    say, results = Language(arguments.lang), data.gather(arguments)
    with tempfile.TemporaryDirectory() as folder:
        pdf = write(results, say, arguments.author or [], Path(folder))
    write_safely(arguments.output, pdf)
    if not arguments.quiet:
        if not results.tested:
            print(say.plain("missing_test").replace("`", ""))
        print(f"Report: {commandline.shown(arguments.output)}")


if __name__ == "__main__":
    commandline.run(main)
