"""Testing: how good a classifier is on a set of images, how fast and how large it is, when it is unsure."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier import Classifier, find_model
from toolkit import commandline, datasets, drawings, files, tracking
from toolkit.files import InputError
from toolkit.metrics import evaluate, headline

import numpy as np

LATENCY_REPEATS, LATENCY_SECONDS = 50, 1.0  # of the median time of an answer, whichever comes first


def measure(classifier: Classifier, images: np.ndarray) -> dict[str, Any]:
    """Measure the prediction time, the size and the number of parameters of a classifier.

    Returns
    -------
    latency : median seconds of `predict_proba` for one image, given alone.
    size : bytes of the saved model.
    parameters : how many numbers it has learned.
    """
    for image in images[:3]:
        classifier.predict_proba(image)  # the first calls set up caches
    times: list[float] = []
    while len(times) < LATENCY_REPEATS and sum(times) < LATENCY_SECONDS:
        image = images[len(times) % len(images)]
        started = time.perf_counter()
        classifier.predict_proba(image)
        times.append(time.perf_counter() - started)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        classifier.save(path)
        size = path.stat().st_size
    return {"latency": statistics.median(times), "size": size, "parameters": classifier.parameters()}


def report_text(metrics: Mapping[str, Any]) -> str:
    """Return the report for a terminal: headline, a table of the digits, the confusion matrix."""
    per_class, confusion = metrics["per_class"], np.array(metrics["confusion"])
    lines = [headline(metrics), "", "digit  precision   recall       F1   images"]
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    for digit in range(10):
        values = [100 * per_class[name][digit] for name in ("precision", "recall", "f1")]
        cells = "".join(f"{value:9.2f}" if occurs[digit] else f"{'-':>9}" for value in values)
        lines.append(f"{digit:>5}  {cells}{per_class['support'][digit]:9,}")
    macro = "".join(f"{100 * metrics[name]:9.2f}" for name in ("macro_precision", "macro_recall", "macro_f1"))
    lines += [f"macro  {macro}{confusion.sum():9,}", "", "rows: the true digit, columns: what it was read as"]
    width = max(4, len(str(confusion.max())) + 1)
    for head, row in [("", range(10)), *enumerate(np.where(confusion, confusion, "."))]:
        # A point for zero: errors stand out at a glance.
        lines.append(f"{head:>5}" + "".join(f"{cell:>{width}}" for cell in row))
    return "\n".join(lines)


def parse(kind: str, description: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line of `test_*.py`.

    Raises InputError when there is no model file, with the command that makes one.
    """
    parser = commandline.Parser(description)
    add = parser.add_argument
    default = "the model file (default: yours in trained/, else the one in models/)"
    add("--model", type=Path, metavar="FILE", help=default)
    datasets.add_flags(parser)
    add("--drawn", metavar="SET", help=f"test on drawings instead: {drawings.HELP}")
    part = "which part of the drawings, if they have parts"
    add("--drawn-part", choices=(*drawings.PARTS, "all"), default="test", help=part)
    add("--json", type=Path, metavar="FILE", help="write the metrics there, as JSON")
    output = f"where the plots and test.json go (default: runs/test-{kind}-TIME)"
    add("--output", type=Path, metavar="DIR", help=output)
    add("--quiet", action="store_true", help="print the accuracy only")
    arguments = parser.parse_args(argv)
    if arguments.drawn and arguments.limit:
        raise InputError("--limit goes with a data set, not with --drawn.")
    folder = arguments.output or tracking.RUNS
    for path in filter(None, (folder / "test.json", arguments.json)):
        files.check_writable(path)
    arguments.model = arguments.model or default_model(kind, arguments.dataset)
    if not arguments.model.is_file():
        options = "" if arguments.dataset == datasets.DEFAULT else f" --dataset {arguments.dataset}"
        raise InputError(
            f"there is no model file {arguments.model}; python train_{kind}.py{options} makes one."
        )
    return arguments


def test(model: type[Classifier], arguments: argparse.Namespace) -> None:
    """Load a classifier, test it, print the report, and write its plots and metrics."""
    from toolkit import figures

    classifier = model.load(arguments.model)
    if not arguments.quiet:
        origin = _provenance(classifier.trained_on)
        print(f"Model: {commandline.shown(arguments.model)} ({classifier.name}), trained on {origin}")
    if arguments.drawn:
        images = drawings.load_drawn(
            arguments.drawn, *(drawings.PARTS if arguments.drawn_part == "all" else [arguments.drawn_part])
        )
    else:
        images = datasets.load("test", dataset=arguments.dataset, data=arguments.data, limit=arguments.limit)
    start = time.perf_counter()
    probabilities = classifier.predict_proba(images.images)
    seconds = time.perf_counter() - start
    metrics = evaluate(images.labels, probabilities)
    if arguments.quiet:
        print(headline(metrics))
    else:
        print(f"Data: {len(images):,} images of {images.name}, read in {seconds:.1f} s\n")
        print(report_text(metrics))
    output = arguments.output or tracking.new_directory(f"test-{classifier.kind}")
    title = f"{classifier.name} on {images.name}"
    figures.save(figures.confusion(metrics, title), output / "confusion.png")
    worst = figures.mistakes(images.images, images.labels, probabilities, title)
    figures.save(worst, output / "mistakes.png")
    record = {**metrics, "images": len(images), "data": images.name, "model": str(arguments.model)}
    record |= {"kind": classifier.kind, "trained_on": classifier.trained_on}
    for path in filter(None, (output / "test.json", arguments.json)):
        files.write_json(path, record)
    if not arguments.quiet:
        print(f"\nPlots: {output / 'confusion.png'}, {output / 'mistakes.png'}")


def default_model(kind: str, dataset: str) -> Path:
    """Return the user's own model, else the shipped one; first one of the data set that is tested on."""
    path = find_model(datasets.model_name(kind, dataset))
    return path if path.is_file() else find_model(kind)


def _provenance(trained_on: Mapping[str, Any]) -> str:
    """Say what a model was trained on."""
    if "images" not in trained_on:
        return "data that its file does not name"
    text = f"{trained_on.get('count', 0):,} images of {trained_on['images']}"
    if trained_on.get("config", {}).get("augment"):
        text += " with augmentation"
    return f"{text}, seed {trained_on.get('seed')}"
