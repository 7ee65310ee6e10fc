"""Write the report: report.pdf, from the results that are there, in English or Spanish.

    python report.py                             # on your models, trainings and sweeps
    python report.py --lang es --author "Ana Ruiz" --author "Luis Gil" --output informe.pdf
    python report.py --drawn pendigits           # also tests the models on recorded drawings

Your own results (trained/, runs/, studies.db) go before those that come with the toolkit (models/, results/).
The report names what is missing, with the command that makes it. Without MNIST the models are not tested, and
the report says so. Every number comes from a file or is measured here:

    runs/train-KIND-*/, results/train-KIND*/    trainings: config.json, epochs.jsonl, metrics.json
    studies.db, results/KIND_trials.jsonl       trials of sweeps
    trained/ or models/KIND.safetensors         the models, tested here on the test split
    runs/results/results.jsonl, results/models.jsonl              what `bench/results.py` measured
    runs/augmentation/results.jsonl, results/augmentation.jsonl   what `experiments/augmentation.py` measured
    results/notes.json                          optional: what else was tried

This script gathers the results into one JSON file and a folder of figures. `toolkit/report/report.typ` lays
them out, with the texts of `toolkit/report/en.yaml` or `es.yaml`.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pareto
from classifier import ROOT, InputError, write_safely
from predict import CLASSIFIERS
from toolkit import commandline, datasets, evaluation, figures, files, trials
from toolkit.report import results as data
from toolkit.report import sections
from toolkit.report.importance import Importance, importance
from toolkit.report.results import Results, Study
from toolkit.report.texts import FOLDER, LANGUAGES, Texts

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = [
    ("macro_precision", "macro_recall"),
    ("worst_precision", "worst_recall"),
    ("accuracy", "latency"),
    ("drawn_accuracy", "size"),
]
MOST_ROWS = 30  # of the table of the fronts


def read(arguments: Any) -> Results:
    """Read and measure everything. Raises InputError for results that are there but damaged."""
    configs = {kind: import_module(f"train_{kind}").Config for kind in CLASSIFIERS}
    results, folder, runs = Results(CLASSIFIERS, configs), Path(arguments.results), Path(arguments.runs)
    results.studies = read_studies(arguments.db, folder)
    for source in dict.fromkeys(study.source for study in results.studies):
        results.sources["trials of sweeps"].append(source)

    def first(what: str, *paths: Path) -> Path | None:
        for path in filter(Path.is_file, paths):
            results.sources[what].append(commandline.shown(path))
            return path
        return None

    if path := first("base lines", runs / "results/results.jsonl", folder / "models.jsonl"):
        results.base = files.read_lines(path)
    own = runs / "augmentation/results.jsonl"
    if path := first("augmentation experiment", own, folder / "augmentation.jsonl"):
        results.means, results.comparisons = _read_augmentation(path)
    if path := first("what else was tried", folder / "notes.json"):
        results.notes = data.read_notes(path, arguments.lang)
    paths = {kind: evaluation.default_model(kind, arguments.dataset) for kind in CLASSIFIERS}
    paths = {kind: path for kind, path in paths.items() if path.is_file()}
    results.test, results.drawn = data.load_images(arguments) if paths else (None, None)
    for kind, path in paths.items():
        model = getattr(import_module(kind), CLASSIFIERS[kind])
        results.models.append(data.test_model(kind, path, model, results.test, results.drawn))
        results.sources["model"].append(commandline.shown(path))
    used = {model.kind: model.classifier.trained_on.get("config", {}) for model in results.models}
    for kind, config in configs.items():
        where: dict[str, Any] = {"dataset": arguments.dataset, "limit": arguments.limit}
        for run in data.find_trainings(kind, config, [runs, folder], model=used.get(kind, {}), **where):
            results.trainings.append(run)
            results.sources["training"].append(commandline.shown(run.folder))
    if not results.sources:
        raise InputError(
            "there is nothing to report on: no model in trained/ or models/, no record in "
            f"{runs} or {folder}; python train_softmax.py makes a first one."
        )
    return results


def read_studies(db: str, folder: Path) -> list[Study]:
    """Read the studies of the database; of kinds with no finished trial there, those in the folder."""
    studies = []
    if db != trials.DEFAULT_DB or Path(db.removeprefix("sqlite:///")).is_file():
        for name in trials.study_names(db):
            own = trials.read_trials(db, name)
            studies.append(Study(name, trials.kind_of(db, name), own, trials.shown_url(db)))
    known = {study.kind for study in studies if study.ended("finished")}
    for path in sorted(folder.glob("*_trials.jsonl")):
        kind = path.stem.removesuffix("_trials")
        for name, own in trials.read_export(path).items():
            studies += [Study(name, kind, own, commandline.shown(path))] if kind not in known else []
    return [study for study in studies if study.trials]


def _read_augmentation(path: Path) -> tuple[list[Any], list[Any]]:
    """Return the means and comparisons of the experiment."""
    from experiments.augmentation import compare, load_rows, summarise

    try:
        rows = load_rows(path)
        return summarise(rows), compare(rows)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds no rows of the augmentation experiment ({error!r}).") from error


def fronts(
    results: Results, found: Mapping[str, Importance | None], texts: Texts, draw: sections.Draw
) -> dict[str, Any] | None:
    """Return the figure of the fronts, and a row for each trial on one; None without finished trials."""
    studies, chosen = results.main_studies(), results.chosen_trials()
    panels: dict[tuple[str, str], list[pareto.Front]] = {}
    for pair in PAIRS:
        own = [pareto.Front(study.name, study.trials, pair) for study in studies.values()]
        if own := [front for front in own if front.finished]:
            panels[pair] = own
    if not panels:
        return None
    panels_of: dict[tuple[str, int], list[str]] = {}  # study and trial -> the panels in whose front it is
    for letter, own in zip("abcdefgh", panels.values(), strict=False):
        for front in own:
            for index in np.flatnonzero(front.optimal):
                panels_of.setdefault((front.name, front.finished[index]["number"]), []).append(letter)
    rows = []
    for kind, study in studies.items():
        trials = [trial for trial in study.ended("finished") if (study.name, trial["number"]) in panels_of]
        entry, names = found.get(kind), _differing(trials)
        if entry:
            names.sort(key=lambda name: entry.names.index(name) if name in entry.names else 99)
        for trial in sorted(trials, key=lambda trial: -trial.get("accuracy", 0)):
            number, parameters = trial["number"], trial["trial_parameters"]
            mark = " *" if chosen.get(study.name) == number else ""
            shown = ("accuracy", "drawn_accuracy", "latency", "size")
            reached = [texts.metric(name, trial.get(name)) for name in shown]
            settings = [f"{name} {texts.value(parameters[name])}" for name in names if name in parameters][:5]
            letters = ", ".join(panels_of[study.name, number])
            rows.append([study.name, f"{number}{mark}", letters, *reached, "; ".join(settings)])
    return {
        "file": draw("fronts", figures.front_panels(panels, chosen=chosen, **texts.for_figures)),
        "chosen": [[name, str(number)] for name, number in chosen.items()],
        "rows": rows[:MOST_ROWS],
        "total": str(len(rows)),
    }


def _differing(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the hyperparameters that are not the same in all of these trials."""
    names = dict.fromkeys(name for trial in trials for name in trial["trial_parameters"])
    return [n for n in names if len({str(trial["trial_parameters"].get(n)) for trial in trials}) > 1]


def augmentation(results: Results, texts: Texts, draw: sections.Draw) -> dict[str, Any] | None:
    if not results.means:
        return None
    from experiments.augmentation import TEST_SETS

    titles = {**CLASSIFIERS, **TEST_SETS}
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

    def effect(entry: Any) -> dict[str, str]:
        name = "raises" if entry.low > 0 else "lowers" if entry.high < 0 else "unclear"
        ends = entry.low, entry.difference, entry.high
        low, difference, high = map(texts.points, ends if name == "unclear" else sorted(map(abs, ends)))
        return {"kind": entry.model, "effect": name, "low": low, "difference": difference, "high": high}

    seeds = sorted({mean.n for mean in results.means})
    figure = figures.augmentation(results.means, label=word, language=texts.language)
    return {
        "file": draw("augmentation", figure),
        "tests": [titles[name] for name in tests],
        "seeds": f" {texts.word('to')} ".join(dict.fromkeys([str(seeds[0]), str(seeds[-1])])),
        "means": rows_of(results.means, mean),
        "comparisons": rows_of(results.comparisons, difference),
        "effects": [
            effect(entry)
            for entry in results.comparisons
            if (entry.setting, entry.test_set) == ("all", "framed") and entry.low is not None
        ],
    }


def gather(results: Results, texts: Texts, authors: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return the data of report.typ, ready to print, and save its figures as SVG in the folder."""

    def draw(name: str, figure: Figure) -> str:
        figures.save(figure, folder / f"{name}.svg")
        return f"{name}.svg"

    kinds = results.main_studies()
    found = {kind: importance([s for s in results.studies if s.kind == kind]) for kind in kinds}
    swept = [kind for kind in CLASSIFIERS if (ROOT / f"sweep_{kind}.py").is_file()]
    today = datetime.date.today()
    return {
        "language": texts.language,
        "authors": list(authors),
        "date": [today.day, today.month, today.year],
        "names": CLASSIFIERS,
        "base": sections.base_lines(results, texts),
        "trainings": sections.trainings(results, texts, draw),
        "searches": sections.searches(results, found, swept, texts, draw),
        "fronts": fronts(results, found, texts, draw),
        "models": sections.models(results, texts, draw),
        "augmentation": augmentation(results, texts, draw),
        "notes": results.notes,
        "reproduce": sections.reproduce(results, texts),
    }


def render(data: Mapping[str, Any], folder: Path) -> bytes:
    """Lay out the report as a PDF; the folder holds its figures."""
    import typst

    files.write_json(folder / "data.json", data)
    shutil.copy(FOLDER / "report.typ", folder)
    shutil.copy(FOLDER / f"{data['language']}.yaml", folder / "texts.yaml")
    # With its own fonts alone, the pages are the same on every computer.
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
    add("--db", default=trials.DEFAULT_DB, metavar="URL", help="database of the studies")
    drawn = "an .npz of recorded strokes (its test part), or a folder of LABEL_anything.png"
    add("--drawn", metavar="PATH", help=f"also test the models on drawings: {drawn}")
    add("--output", default="report.pdf", metavar="FILE", help="the report")
    add("--quiet", action="store_true", help="print errors only")
    datasets.add_flags(parser)
    arguments = parser.parse_args(argv)
    files.check_writable(arguments.output)
    texts, results = Texts(arguments.lang), read(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pdf = render(gather(results, texts, arguments.author or [], folder), folder)
    write_safely(arguments.output, pdf)
    if not arguments.quiet:
        if results.models and results.test is None:
            print(texts.sentences["untested"].strip().replace("`", ""))
        print(f"Report: {commandline.shown(arguments.output)}")


if __name__ == "__main__":
    commandline.run(main)
