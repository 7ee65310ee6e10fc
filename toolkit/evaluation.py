"""How good a classifier is: metrics, a report for the terminal, plots; and the command line of `test_*.py`.

    metrics = evaluate(test_set.labels, classifier.predict_proba(test_set.images))
    print(report_text(metrics))
    plot_confusion(metrics, "confusion.png", "SVM on mnist/test")

Metrics are plain numbers and lists, so that every part keeps them as JSON.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier import Classifier, InputError, find_model, write_safely
from toolkit import commandline, datasets, tracking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIT_COLOUR, CHOOSE_COLOUR = "#8a94a3", "#1f6feb"
INK, GRID = "#24292f", "#e4e7eb"


def evaluate(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """The metrics of one set of predictions, ready for JSON.

    Parameters
    ----------
    labels : integers (n,), 0 to 9, n at least 1.
    probabilities : floats (n, 10), rows summing to 1; the prediction is a row's argmax.

    Returns
    -------
    accuracy, macro_precision, macro_recall, macro_f1 : 0 to 1. A macro figure is the mean over the digits
        that occur among the labels or the predictions, as scikit-learn's `average="macro"` takes it;
        what would be divided by zero is 0.
    log_loss : mean of -ln(probability of the true digit), the probability no smaller than 1.2e-7, the
        resolution of float32, so that one certain error does not make it infinite.
    worst_precision, worst_recall : of the digit that is worst at it, among the digits that occur in
        the labels.
    per_class : {"precision", "recall", "f1", "support"}, lists of ten; support counts the labels.
    confusion : ten rows, one for each true digit, of ten counts, one for each predicted digit.

    Raises
    ------
    ValueError : shapes, labels or probabilities that are not as above.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or not len(labels) or probabilities.shape != (len(labels), 10):
        raise ValueError(
            "wanted labels of shape (n,) with n from 1, and probabilities (n, 10); "
            f"got {labels.shape} and {probabilities.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() > 9:
        raise ValueError("wanted whole numbers from 0 to 9 as labels.")
    if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("wanted finite probabilities whose rows sum to 1.")
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(10 * labels + predicted, minlength=100).reshape(10, 10)
    hits, support, answers = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, answers), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + answers)
    occurs = support + answers > 0
    of_the_truth = probabilities[np.arange(len(labels)), labels]
    return {
        "accuracy": float(hits.sum() / len(labels)),
        "macro_precision": float(precision[occurs].mean()),
        "macro_recall": float(recall[occurs].mean()),
        "macro_f1": float(f1[occurs].mean()),
        "log_loss": float(-np.log(np.maximum(of_the_truth, np.finfo(np.float32).eps)).mean()),
        "worst_precision": float(precision[support > 0].min()),
        "worst_recall": float(recall[support > 0].min()),
        "per_class": {
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
            "support": support.tolist(),
        },
        "confusion": confusion.tolist(),
    }


def fit_threshold(probabilities: np.ndarray, labels: np.ndarray, *, precision: float = 0.995) -> float:
    """The probability below which a classifier is to be called unsure: `unsure_below` in its metrics.

    The smallest threshold such that, of the answers given with at least that probability, the share
    `precision` is right: as many answers as possible without a "?" at a bounded risk (Y. Geifman,
    R. El-Yaniv: Selective classification for deep neural networks, 2017). To be fitted on data that nothing
    is reported on, best on recorded drawings, which are harder than MNIST.

    Parameters
    ----------
    probabilities : float (n, 10).
    labels : int (n,), 0 to 9.
    precision : 0 to 1.

    Returns
    -------
    0 to 1; 1 where no threshold is good enough.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    right = (probabilities.argmax(axis=1) == labels)[order]
    share = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Answers of equal probability stand on the same side of any threshold.
    ends = np.append(confidence[1:] < confidence[:-1], True) if len(right) else np.zeros(0, dtype=bool)
    good = np.flatnonzero(ends & (share >= precision))
    return float(confidence[good[-1]]) if len(good) else 1.0


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def headline(metrics: Mapping[str, Any]) -> str:
    """One line: `accuracy 99.65 % (35 of 10,000 wrong), log loss 0.0119`."""
    confusion = np.array(metrics["confusion"])
    total, wrong = confusion.sum(), confusion.sum() - confusion.trace()
    accuracy, loss = 100 * metrics["accuracy"], metrics["log_loss"]
    return f"accuracy {accuracy:.2f} % ({wrong:,} of {total:,} wrong), log loss {loss:.4f}"


def report_text(metrics: Mapping[str, Any]) -> str:
    """The report for a terminal: headline, a table of the digits, the confusion matrix; 62 columns wide."""
    per_class, confusion = metrics["per_class"], metrics["confusion"]
    lines = [headline(metrics), "", "digit  precision   recall       F1   images"]
    answers = np.sum(confusion, axis=0)
    for digit in range(10):
        values = [100 * per_class[name][digit] for name in ("precision", "recall", "f1")]
        occurs = per_class["support"][digit] or answers[digit]
        cells = "".join(f"{value:9.2f}" if occurs else f"{'-':>9}" for value in values)
        lines.append(f"{digit:>5}  {cells}{per_class['support'][digit]:9,}")
    macro = "".join(f"{100 * metrics[name]:9.2f}" for name in ("macro_precision", "macro_recall", "macro_f1"))
    lines += [f"macro  {macro}{sum(per_class['support']):9,}", ""]
    width = max(4, *(len(str(count)) + 1 for row in confusion for count in row))
    lines += ["rows: the true digit, columns: what it was read as"]
    lines.append("     " + "".join(f"{digit:>{width}}" for digit in range(10)))
    for digit, row in enumerate(confusion):
        # A point for nothing: errors are found at a glance where zeros do not hide them.
        lines.append(f"{digit:>5}" + "".join(f"{count or '.':>{width}}" for count in row))
    return "\n".join(lines)


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_safely(path, buffer.getvalue())


def plot_confusion(metrics: Mapping[str, Any], path: str | os.PathLike[str], title: str) -> None:
    """Write the confusion matrix as a PNG: counts, and percentages of the row, in every cell that has any.

    Right and wrong answers have colours of their own, the wrong ones scaled to the errors alone,
    so that they are seen where 99 % are right.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    counts = np.array(metrics["confusion"])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = np.where(np.eye(10, dtype=bool), 0, share)
    # Square roots: the rarest error is still seen beside the most frequent one. From 2 % on, an error is bad.
    strength = np.sqrt(errors / max(errors.max(), 0.02))
    colours = colormaps["Oranges"](0.65 * strength)
    colours[counts == 0] = (1, 1, 1, 1)
    diagonal = np.arange(10)
    colours[diagonal, diagonal] = colormaps["Blues"](0.25 + 0.6 * share[diagonal, diagonal])

    figure = Figure(figsize=(8.2, 8.6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(colours)
    for true in range(10):
        for read in range(10):
            if not counts[true, read]:
                continue
            on_dark = true == read and share[true, read] > 0.4
            percent = 100 * share[true, read]
            style: dict[str, Any] = {"ha": "center", "color": "white" if on_dark else INK}
            axes.text(read, true + 0.04, f"{counts[true, read]:,}", va="bottom", fontsize=11.5, **style)
            axes.text(read, true + 0.10, f"{percent:.2f} %", va="top", fontsize=7.5, **style)
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xticks(np.arange(-0.5, 10), minor=True)
    axes.set_yticks(np.arange(-0.5, 10), minor=True)
    axes.grid(which="minor", color=GRID, linewidth=1)
    axes.tick_params(which="both", length=0, labelsize=12)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("read as", fontsize=12, labelpad=8)
    axes.set_ylabel("true digit", fontsize=12, labelpad=8)
    axes.set_title(f"{title}\n{headline(metrics)}", loc="left", fontsize=12, pad=12)
    _save(figure, path)


def plot_learning_curve(
    epochs: Sequence[Mapping[str, float]], path: str | os.PathLike[str], title: str
) -> None:
    """Write loss and accuracy of both splits over the epochs as a PNG.

    Both axes are logarithmic, accuracy's in the distance to 100 %: 99.5 and 99.6 % stand well apart.

    Parameters
    ----------
    epochs : as `tracking.Run.epochs` holds them; `val_...` may be missing (training on all images).

    Raises
    ------
    ValueError : no epochs.
    """
    from matplotlib.figure import Figure

    if not epochs:
        raise ValueError("wanted at least one epoch to plot.")
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    figure.suptitle(title, x=0.012, ha="left", fontsize=12)
    loss, accuracy = figure.subplots(1, 2)
    _plot_splits(loss, "loss", _curves(epochs, "loss"), lambda value: f"{value:.4f}")
    _logarithmic(loss, [value for _, values in _curves(epochs, "loss").values() for value in values])

    curves = _curves(epochs, "accuracy")
    distances = [1 - value for _, values in curves.values() for value in values]
    # An accuracy of exactly 1 has no logarithm of its distance to 1: it is drawn at the upper edge.
    edge = min((distance for distance in distances if distance > 0), default=0.02) / 2
    _plot_splits(
        accuracy, "accuracy", curves, lambda value: f"{100 * value:.2f} %", lambda value: max(1 - value, edge)
    )
    _logarithmic(accuracy, [max(distance, edge) for distance in distances])
    ticks = [tick for tick in accuracy.get_yticks() if tick < 1.0001]
    labels = [f"{100 * (1 - tick):.6g} %" for tick in ticks]
    if min(distances, default=1.0) <= 0:
        ticks, labels = [edge, *ticks[1:]], ["100 %", *labels[1:]]
    accuracy.set_yticks(ticks, labels)
    accuracy.set_ylim(min(accuracy.get_ylim()[1], 1.02), accuracy.get_ylim()[0])  # nothing is below 0 %
    _save(figure, path)


def _curves(epochs: Sequence[Mapping[str, float]], what: str) -> dict[str, tuple[list[float], list[float]]]:
    """For each split that has any: the epochs at which the metric is a finite number, and its values."""
    curves = {}
    for split in ("train", "val"):
        known = [e for e in epochs if np.isfinite(e.get(f"{split}_{what}", np.nan))]
        if known:
            curves[split] = [e["epoch"] for e in known], [e[f"{split}_{what}"] for e in known]
    return curves


def _plot_splits(
    axes: Axes,
    what: str,
    curves: Mapping[str, tuple[list[float], list[float]]],
    shown: Callable[[float], str],
    height: Callable[[float], float] = lambda value: value,
) -> None:
    """Draw the curves of both splits into one axes, each with its last value in the legend."""
    from matplotlib.ticker import MaxNLocator

    for split, (numbers, values) in curves.items():
        axes.plot(
            numbers,
            [height(value) for value in values],
            color=FIT_COLOUR if split == "train" else CHOOSE_COLOUR,
            linewidth=2,
            marker="o",
            markersize=6 if len(values) < 3 else 3.5,
            label=f"{split} split, last {shown(values[-1])}",
        )
    axes.set_title(what, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        axes.legend(frameon=False, fontsize=9.5)


def _logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis around the values, with round numbers as ticks, few values or many."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    margin = max(1.15, (3 * low / high) ** 0.5)  # at least a factor of 3 from edge to edge
    low, high = low / margin, high * margin
    ticks: list[float] = []
    span = np.log10(high / low)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digit in (1, 5, 2, 3, 7, 4, 9, 8, 6):
        for tick in (digit * 10.0**power for power in powers):
            if low <= tick <= high and all(abs(np.log10(tick / other)) > span / 9 for other in ticks):
                ticks.append(tick)
    axes.set_ylim(low, high)
    axes.set_yscale("log")
    axes.set_yticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
    axes.set_yticks([], minor=True)


def plot_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    path: str | os.PathLike[str],
    title: str,
    *,
    most: int = 40,
) -> None:
    """Write the worst mistakes as a PNG: each image, its true digit, what it was read as, how surely.

    Parameters
    ----------
    images : uint8 (n, 28, 28); labels : integers (n,); probabilities : floats (n, 10).
    most : draw at most so many; those come first whose true digit got the least probability.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    read = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(read != labels)
    order = np.argsort(probabilities[wrong, labels[wrong]], kind="stable")
    shown = wrong[order[:most]]
    columns = min(8, max(4, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(1.3 * columns, 1.72 * rows + 0.75), layout=ConstrainedLayoutEngine(w_pad=0.06))
    count = f"{len(wrong):,} of {len(labels):,} read wrong"
    if len(shown) < len(wrong):
        count += f", the worst {len(shown)} of them"
    figure.suptitle(f"{title}\n{count}", x=0.012, ha="left", fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, shown, strict=False):
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
        sure = 100 * probabilities[index, read[index]]
        axes.set_title(f"{labels[index]} read as {read[index]}\n{sure:.0f} %", fontsize=9, color=INK)
        axes.set_axis_on()
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(GRID)
    _save(figure, path)


def command(
    kind: str, description: str | None, load: Callable[[Path], Classifier], argv: Sequence[str] | None
) -> None:
    """The command line of `test_*.py`: read a model file, report on the test split or on drawings.

    Parameters
    ----------
    kind : of the model, e.g. "svm"; its file is found by it, and the command that makes one is named by it.
    description : the help's text, the script's docstring.
    load : reads a model file; called only when the command line is known to be right, for it may import much.
    argv : the command line's words; None takes `sys.argv[1:]`.

    Raises
    ------
    InputError : no model, or no data; the sentence says what helps.
    """
    parser = commandline.Parser(description)
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="the model file (default: yours in trained/, else the one in models/)",
    )
    commandline.add_data_flags(parser)
    parser.add_argument(
        "--drawn",
        metavar="PATH",
        help="test on drawings instead: an .npz of recorded strokes, or a folder of LABEL_anything.png",
    )
    parser.add_argument(
        "--drawn-part",
        choices=("test", "validation", "all"),
        default="test",
        help="which part of recorded strokes that have one for choosing and one for testing",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the metrics there, as JSON")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where the plots and test.json go (default: runs/test-{kind}-TIME)",
    )
    parser.add_argument("--quiet", action="store_true", help="print the accuracy only")
    arguments = parser.parse_args(argv)
    if arguments.drawn and arguments.limit:
        raise InputError("--limit goes with a data set, not with --drawn.")

    path = arguments.model or default_model(kind, arguments.dataset)
    if not path.is_file():
        options = " --dataset digits" if arguments.dataset == "digits" else ""
        raise InputError(f"there is no model file {path}; python train_{kind}.py{options} makes one.")
    classifier = load(path)
    if not arguments.quiet:
        origin = _provenance(classifier.trained_on)
        print(f"Model: {commandline.shown(path)} ({classifier.name}), trained on {origin}")
    if arguments.drawn:
        images = datasets.load_drawn(arguments.drawn, part=arguments.drawn_part)
    else:
        images = datasets.load("test", dataset=arguments.dataset, data=arguments.data, limit=arguments.limit)
    start = time.perf_counter()
    probabilities = classifier.predict_proba(images.images)
    seconds = time.perf_counter() - start
    if probabilities is None:
        raise InputError(f"{path} holds a classifier that gives no answers.")
    metrics = evaluate(images.labels, probabilities)

    if arguments.quiet:
        print(headline(metrics))
    else:
        print(f"Data: {len(images):,} images of {images.name}, read in {seconds:.1f} s\n")
        print(report_text(metrics))
    record = {
        **metrics,
        "images": len(images),
        "data": images.name,
        "model": str(path),
        "kind": kind,
        "trained_on": classifier.trained_on,
    }
    content = (json.dumps(record, indent=1) + "\n").encode()
    output = arguments.output or tracking.new_directory(f"test-{kind}")
    title = f"{classifier.name} on {images.name}"
    plot_confusion(metrics, output / "confusion.png", title)
    plot_mistakes(images.images, images.labels, probabilities, output / "mistakes.png", title)
    write_safely(output / "test.json", content)
    if arguments.json:
        write_safely(arguments.json, content)
    if not arguments.quiet:
        print(f"\nPlots: {output / 'confusion.png'}, {output / 'mistakes.png'}")


def default_model(kind: str, data: str) -> Path:
    """The user's own model, else the shipped one; of the bundled digits first where these are tested on."""
    path = find_model(f"{kind}-{data}" if data == "digits" else kind)
    return path if path.is_file() else find_model(kind)


def _provenance(trained_on: Mapping[str, Any]) -> str:
    """What a model was trained on, as a person reads it."""
    if "images" not in trained_on:
        return "data that its file does not name"
    text = f"{trained_on.get('count', 0):,} images of {trained_on['images']}"
    if trained_on.get("config", {}).get("augment"):
        text += " with augmentation"
    return f"{text}, seed {trained_on.get('seed')}"
