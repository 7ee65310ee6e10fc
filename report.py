"""Write the report: report.pdf, from the results that are there, in English or Spanish.

    python report.py                             # on your models, trainings and sweeps
    python report.py --lang es --author "Ana Ruiz" --author "Luis Gil" --output informe.pdf
    python report.py --drawn pendigits           # also tests the models on recorded drawings
    python report.py --discussion mine.md        # with your own text, in Markdown

Your own results (trained/, runs/, studies.db) go before those that come with the toolkit (models/, results/),
which are then labelled "reference".
The report names what is missing, with the command that makes it. Without MNIST the models are not tested, and
the report says so. Every number comes from a file or is measured here:

    runs/train-KIND-*/, results/train-KIND*/    trainings: config.json, epochs.jsonl, metrics.json
    studies.db, results/KIND_trials.jsonl       trials of sweeps
    trained/ or models/KIND.safetensors         the models, tested here on the test split
    runs/results/results.jsonl, results/models.jsonl              what `bench/results.py` measured
    runs/augmentation/results.jsonl, results/augmentation.jsonl   what `experiments/augmentation.py` measured
    results/softmax_alternatives.jsonl          what `bench/softmax_alternatives.py` measured
    results/notes.json                          what else its authors tried; only without results of your own

This script gathers the results into one JSON file and a folder of figures. `toolkit/report/report.typ` lays
them out, with the texts of `toolkit/report/en.yaml` or `es.yaml`.
"""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pareto
from classifier import ROOT, InputError, write_safely
from predict import CLASSIFIERS
from toolkit import commandline, datasets, evaluation, figures, files, trials
from toolkit.report import discussion, markdown, sections, sweeps
from toolkit.report import results as data
from toolkit.report.importance import importance
from toolkit.report.results import Results, Study
from toolkit.report.texts import FOLDER, LANGUAGES, Texts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = [
    ("macro_precision", "macro_recall"),
    ("worst_precision", "worst_recall"),
    ("accuracy", "latency"),
    ("drawn_accuracy", "size"),
]


def read(arguments: Any) -> Results:
    """Read and measure everything. Raises InputError for results that are there but damaged."""
    configs = {kind: import_module(f"train_{kind}").Config for kind in CLASSIFIERS}
    results, folder, runs = Results(CLASSIFIERS, configs), Path(arguments.results), Path(arguments.runs)
    paths = {kind: evaluation.default_model(kind, arguments.dataset) for kind in CLASSIFIERS}
    paths = {kind: path for kind, path in paths.items() if path.is_file()}
    results.test, results.drawn = data.load_images(arguments) if paths else (None, None)
    order = list(CLASSIFIERS)
    results.studies = sorted(
        read_studies(arguments.db, folder),
        key=lambda study: order.index(study.kind) if study.kind in order else len(order),
    )
    for study in results.studies:
        results.add_source("trials of sweeps", study.source, reference="://" not in study.source)

    def first(what: str, *paths: Path) -> Path | None:
        for path in filter(Path.is_file, paths):
            results.add_source(what, path, reference=path.parent == folder)
            return path
        return None

    if path := first("base lines", runs / "results/results.jsonl", folder / "models.jsonl"):
        results.base = files.read_lines(path)
    if path := first("softmax and its alternatives", folder / "softmax_alternatives.jsonl"):
        results.alternatives = files.read_lines(path)
    own = runs / "augmentation/results.jsonl"
    if path := first("augmentation experiment", own, folder / "augmentation.jsonl"):
        _read_augmentation(path, results)
    for kind, path in paths.items():
        model = getattr(import_module(kind), CLASSIFIERS[kind])
        results.models.append(data.test_model(kind, path, model, results.test, results.drawn))
        results.add_source("models", path, reference=path.parent.name == "models")
    used = {model.kind: model.classifier.trained_on.get("config", {}) for model in results.models}
    for kind, config in configs.items():
        where: dict[str, Any] = {"dataset": arguments.dataset, "limit": arguments.limit}
        for run in data.find_trainings(kind, config, [runs, folder], model=used.get(kind, {}), **where):
            results.trainings.append(run)
            results.add_source("trainings", run.folder, reference=run.folder.parent == folder)
    if not results.own and (path := first("what else was tried", folder / "notes.json")):
        results.notes = data.read_notes(path, arguments.lang)
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


def _read_augmentation(path: Path, results: Results) -> None:
    """Read the means and comparisons of the experiment."""
    from experiments.augmentation import TEST_SETS, compare, load_rows, summarise

    try:
        rows = load_rows(path)
        results.means, results.comparisons, results.test_sets = summarise(rows), compare(rows), TEST_SETS
        results.augmented = {row["model"]: row["config"] for row in rows}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds no rows of the augmentation experiment ({error!r}).") from error


def read_text(path: str | None) -> list[dict[str, Any]]:
    """Return the blocks of the user's own text. Raises InputError for a file that cannot be read as text."""
    if path and Path(path).exists() and not Path(path).is_file():
        raise InputError(f"cannot read {path}: it is not a file.")
    try:
        return markdown.blocks(Path(path).read_text(encoding="utf-8-sig")) if path else []
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"cannot read {path}: {reason}.") from None


def gather(
    results: Results, texts: Texts, authors: Sequence[str], own_text: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Return the data of report.typ, ready to print, and save its figures as SVG in the folder."""

    def draw(name: str, figure: Figure) -> str:
        figures.save(figure, folder / f"{name}.svg")
        return f"{name}.svg"

    studies = results.main_studies()
    found = {kind: importance([s for s in results.studies if s.kind == kind]) for kind in studies}
    swept = [kind for kind in CLASSIFIERS if (ROOT / f"sweep_{kind}.py").is_file()]
    named = {sweeps.study_name(study, results): study.trials for study in studies.values()}
    fronts = {pair: [pareto.Front(name, own, pair) for name, own in named.items()] for pair in PAIRS}
    searches = sweeps.searches(results, found, swept, texts, draw)
    today = datetime.date.today()
    return {
        "language": texts.language,
        "authors": list(authors),
        "date": [today.day, today.month, today.year],
        "names": CLASSIFIERS,
        "summary": discussion.summary(results, found, texts),
        "mixed": results.own and bool(results.reference),
        "reference": not results.own,
        "base": sections.base_lines(results, texts),
        "trainings": sections.trainings(results, texts, draw),
        "searches": searches,
        "configurations": sweeps.configurations(results, found, texts, draw),
        "fronts": sweeps.fronts(results, fronts, found, texts, draw),
        "models": sections.models(results, texts, draw),
        "augmentation": sections.augmentation(results, texts, draw),
        "discussion": discussion.discussion(results, found, searches["best"], texts),
        "own_text": own_text,
        "notes": results.notes,
        "reproduce": sections.reproduce(results, texts),
    }


def render(data: Mapping[str, Any], folder: Path) -> bytes:
    """Lay out the report as a PDF; the folder holds its figures."""
    import typst

    # A name of a file or person may hold bytes that are no UTF-8, which Typst does not take.
    text = json.dumps(files.jsonable(data), ensure_ascii=False, default=str)
    (folder / "data.json").write_text(text, encoding="utf-8", errors="replace")
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
    add("--discussion", metavar="FILE", help="your own text, in Markdown, at the end of the discussion")
    add("--output", default="report.pdf", metavar="FILE", help="the report")
    add("--quiet", action="store_true", help="print errors only")
    datasets.add_flags(parser)
    arguments = parser.parse_args(argv)
    files.check_writable(arguments.output)
    own_text = read_text(arguments.discussion)
    texts, results = Texts(arguments.lang), read(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pdf = render(gather(results, texts, arguments.author or [], own_text, folder), folder)
    write_safely(arguments.output, pdf)
    if not arguments.quiet:
        if results.models and results.test is None:
            print(texts.sentences["untested"].strip().replace("`", ""))
        print(f"Report: {commandline.shown(arguments.output)}")


if __name__ == "__main__":
    commandline.run(main)
