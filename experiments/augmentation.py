"""What augmentation does for digits that are drawn: five settings, several seeds, three test sets.

    python experiments/augmentation.py --drawn pendigits.npz
    python experiments/augmentation.py --drawn pendigits.npz --seeds 2 --epochs 1 --limit 2000 --models ann

Both models are trained without augmentation, with moved and scaled images only, and with a third, two thirds
and all of every change. Each is tested on the test split, on recorded drawings framed as the window frames
them, and on the same drawings as a program without framing would see them. The same command goes on after
Ctrl-C or a kill; several at once share the work.

A mean's 95 % interval is Student's t over the seeds: it says how much the training's chance matters on these
very test sets. Whether a setting differs from `off` shall also hold for other people, so that test takes both
the seeds and the writers (of the test split, whose writers are not known, the images) as random: min F' of
H. Clark, The language-as-fixed-effect fallacy, 1973, with the correction of S. Holm, 1979, over all
comparisons of a model. For one seed's pair of classifiers it is McNemar's question (T. Dietterich,
Approximate statistical tests for comparing supervised classification learning algorithms, 1998).

Measured with --epochs 2 --copies 1 (`results/augmentation.jsonl`): all of it gives 2.2 ± 1.5 points on framed
drawings to the ANN (p = 0.04, 5 seeds) and 2.3 ± 1.5 to the SVM (p = 0.07, 3 seeds).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import train_ann
import train_svm
from classifier import InputError, versions, write_safely
from toolkit import commandline, datasets
from toolkit.augment import RANGES, STYLES
from toolkit.evaluation import CHOOSE_COLOUR, GRID, INK
from toolkit.framing import frame_strokes
from toolkit.tracking import Run

TRAINERS = {"ann": train_ann, "svm": train_svm}
# Strength, and which of the changes; in the order of the plot.
SETTINGS: dict[str, tuple[float, tuple[str, ...]]] = {
    "off": (0.0, ()),
    "translation and scale": (1.0, ("translation", "scale")),
    "0.33 of all": (0.33, tuple(RANGES)),
    "0.67 of all": (0.67, tuple(RANGES)),
    "all": (1.0, tuple(RANGES)),
}
TEST_SETS = {"test": "test split", "framed": "drawings, framed", "canvas": "drawings, not framed"}
MODELS = {"ann": ("ANN", CHOOSE_COLOUR), "svm": ("SVM", "#c8501e")}
LEGEND = "diamonds: mean over the seeds, with its 95 % interval; dots: single seeds"
# Every text on the plot: what its `words` translate.
TEXTS = (*TEST_SETS.values(), *SETTINGS, "ANN", "SVM", "right answers in %", LEGEND)
CANVAS, PEN = 280, 20  # pixels, as in the usual window of a program that shrinks its canvas to 28 x 28
# What all trainings of an experiment share; `ranges` are what `augment.py` does at strength 1.
SHARED = ("dataset", "limit", "drawn", "drawn_sha256", "drawn_part", "ranges")
LEFT_OUT = ("augment", "augment_parts", "jobs", "device")  # of a row's configuration: what varies, or where


@dataclass(frozen=True)
class Mean:
    """Accuracy (0 to 1) of a model with a setting: mean of n seeds, 95 % interval (None for one seed)."""

    model: str
    setting: str
    test_set: str
    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """A setting's accuracy less that of `off` (-1 to 1), its own 95 % interval, p with Holm's correction.

    test : what was taken as random, "seeds and writers" or "seeds and images". Interval and p are None where
        either of them is only one.
    """

    model: str
    setting: str
    test_set: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    test: str


def canvas_picture(strokes: Sequence[np.ndarray], side: float) -> np.ndarray:
    """A digit as a program without framing sees it: its whole canvas shrunk by averaging.

    Parameters
    ----------
    strokes : (k, 2) each, k from 1; what lies outside of 0 to `side` is not seen.
    side : of the square canvas, in the unit of the strokes.

    Returns
    -------
    uint8 (28, 28), 0 paper, 255 ink.
    """
    from PIL import Image, ImageDraw

    picture = Image.new("L", (CANVAS, CANVAS), 0)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        places = [tuple(place) for place in np.asarray(stroke, dtype=np.float64) * (CANVAS / side)]
        draw.line(places, fill=255, width=PEN)
        for x, y in places:  # round ends and joints
            draw.ellipse([x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2], fill=255)
    return np.asarray(picture.resize((28, 28), Image.Resampling.BOX))


def load_tests(
    drawn: str, part: str, **where: Any
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Images uint8 (n, 28, 28), labels (n,) and writers (n,) or None of each of `TEST_SETS`.

    The canvas is a square from 0 to the file's largest coordinate. `where` is as in `datasets.load`.
    Raises InputError where there are no such data.
    """
    drawings = datasets.load_drawings(drawn)
    # Drawings that were imported as pictures have no strokes, so nothing to draw again.
    inked = np.array([any(len(stroke) for stroke in digit) for digit in drawings.strokes], dtype=bool)
    side = max((float(stroke.max(initial=1)) for digit in drawings.strokes for stroke in digit), default=1.0)
    if drawings.is_test is not None and part != "all":
        inked &= drawings.is_test.astype(bool) == (part == "test")
    if not inked.any():
        raise InputError(f"{drawn} holds no strokes to test on.")
    drawings = datasets.select(drawings, inked)
    framed = np.stack([frame_strokes(digit) for digit in drawings.strokes])
    canvas = np.stack([canvas_picture(digit, side) for digit in drawings.strokes])
    test_set = datasets.load("test", **where)
    return {
        "test": (test_set.images, test_set.labels, None),
        "framed": (framed, drawings.labels, drawings.writers),
        "canvas": (canvas, drawings.labels, drawings.writers),
    }


def outcome(read: np.ndarray, labels: np.ndarray, writers: np.ndarray | None) -> dict[str, Any]:
    """What a row keeps of one test set, for JSON: `accuracy`, `count`, and what the comparison pairs.

    That is `writers`, [right answers, drawings] of each, where there are two or more, else `wrong`, the
    indices of the images read wrong.
    """
    right = read == labels
    result: dict[str, Any] = {"accuracy": float(right.mean()), "count": len(right)}
    if writers is None or len(set(writers.tolist())) < 2:
        return {**result, "wrong": np.flatnonzero(~right).tolist()}
    whose = {str(name): right[writers == name] for name in np.unique(writers)}
    return {**result, "writers": {name: [int(own.sum()), len(own)] for name, own in whose.items()}}


def planned(arguments: Any) -> list[dict[str, Any]]:
    """The trainings of an experiment, each as the entries of its row that identify it; seed by seed."""
    if not arguments.drawn:
        raise InputError("wanted --drawn FILE, recorded strokes to test on.")
    if not Path(arguments.drawn).is_file():
        raise InputError(f"wanted a file of recorded strokes, .npz; there is none at {arguments.drawn}.")
    content = Path(arguments.drawn).read_bytes()
    shared = {name: getattr(arguments, name) for name in ("dataset", "limit", "drawn_part")}
    shared.update(drawn=Path(arguments.drawn).name, drawn_sha256=hashlib.sha256(content).hexdigest()[:16])
    shared["ranges"] = {**RANGES, **STYLES}
    chosen = {"ann": {"epochs": arguments.epochs}, "svm": {"copies": arguments.copies}}
    trainings = []
    for seed in range(max(arguments.seeds, arguments.svm_seeds)):
        for model, trainer in TRAINERS.items():
            config = {name: value for name, value in trainer.CONFIG.items() if name not in LEFT_OUT}
            for setting, (strength, parts) in SETTINGS.items():
                # Without augmentation nothing in an SVM is random.
                if seed < (arguments.seeds if model == "ann" else arguments.svm_seeds if strength else 1):
                    training = {"model": model, "setting": setting, "seed": seed, "strength": strength}
                    training["parts"] = list(parts)
                    trainings.append({**training, **shared, "config": {**config, **chosen[model]}})
    return trainings


def is_same(row: Mapping[str, Any], training: Mapping[str, Any], names: Collection[str]) -> bool:
    """Whether a row and a planned training agree in the named entries, and in their configuration.

    Options that only one of them knows make no difference: a later version's new ones are off by default.
    """
    options = {name: value for name, value in training["config"].items() if name in row["config"]}
    return all(row.get(name) == training[name] for name in names) and options.items() <= row["config"].items()


def is_done(training: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the rows is that of the training."""
    return any(is_same(row, training, set(training) - {"config"}) for row in rows)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Every row of a `results.jsonl`, [] where there is no such file; a line cut short is left out."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return [row for row in rows if "tests" in row]


def load_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of the largest experiment in a `results.jsonl`: the same data, one configuration a model.

    A quick look in the same folder thus changes nothing. [] where there is no such file.
    """
    rows = _most_frequent(read_rows(path), SHARED)
    return [row for m in MODELS for row in _most_frequent([r for r in rows if r["model"] == m], ["config"])]


def _most_frequent(rows: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that have the named entries in common with the most others; of equally many, the latest."""
    keys = [json.dumps([row.get(name) for name in names], sort_keys=True) for row in rows]
    counts = Counter(reversed(keys))
    return [row for row, key in zip(rows, keys, strict=True) if key == max(counts, key=counts.__getitem__)]


def _by_seed(rows: Sequence[Mapping[str, Any]], model: str, setting: str) -> dict[int, Mapping[str, Any]]:
    """One row a seed, in the order of the seeds."""
    found = {row["seed"]: row for row in rows if (row["model"], row["setting"]) == (model, setting)}
    return dict(sorted(found.items()))


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[Mean]:
    """Mean accuracy over the seeds, and its 95 % interval (Student's t), wherever there are rows."""
    from scipy import stats

    means = []
    for model in MODELS:
        for setting in SETTINGS:
            done = _by_seed(rows, model, setting).values()
            for test_set in TEST_SETS if done else ():
                values = np.array([row["tests"][test_set]["accuracy"] for row in done])
                n, mean = len(values), float(values.mean())
                low = high = None
                if n > 1:
                    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)
                    low, high = mean - half, mean + half
                means.append(Mean(model, setting, test_set, n, mean, low, high))
    return means


def compare(rows: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Every setting against `off`, paired over the seeds and over the writers, or images, of each test set.

    An SVM without augmentation is one machine: it is every seed's partner.
    """
    comparisons = []
    for model in MODELS:
        off = _by_seed(rows, model, "off")
        own = []
        for setting in list(SETTINGS)[1:]:
            done = _by_seed(rows, model, setting)
            partners = {seed: off.get(0 if model == "svm" else seed) for seed in done}
            pairs = [(done[seed], partner) for seed, partner in partners.items() if partner]
            for test_set in TEST_SETS if pairs else ():
                tests = [(row["tests"][test_set], partner["tests"][test_set]) for row, partner in pairs]
                differences = np.array([_right(one)[0] - _right(other)[0] for one, other in tests])
                figures = paired_test(differences, _right(tests[0][0])[1])
                units = "writers" if "writers" in tests[0][0] else "images"
                own.append(Comparison(model, setting, test_set, *figures, f"seeds and {units}"))
        tested = [comparison for comparison in own if comparison.p is not None]
        corrected = iter(holm([comparison.p or 0.0 for comparison in tested]))
        comparisons += [c if c.p is None else replace(c, p=next(corrected)) for c in own]
    return comparisons


def _right(test: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Right answers and number of images of each writer, (u,) both; without writers of each image."""
    if "writers" in test:
        right, counts = np.array([test["writers"][name] for name in sorted(test["writers"])], dtype=float).T
        return right, counts
    right = np.ones(test["count"])
    right[test["wrong"]] = 0
    return right, np.ones(test["count"])


def paired_test(
    differences: np.ndarray, counts: np.ndarray
) -> tuple[float, float | None, float | None, float | None]:
    """Difference of accuracies, low and high end of its 95 % interval, p: seeds and units both random.

    The variance of a mean over two crossed random factors is at most the sum of the two that one finds with
    either factor alone; that sum, with Satterthwaite's degrees of freedom, is Clark's min F' (a t here).
    Writers with more drawings count more, as in the accuracy (linearised ratio: W. Cochran, Sampling
    techniques, 1977, chapter 6).

    Parameters
    ----------
    differences : (seeds, u), by how many more images of a unit, a writer or an image, are read right.
    counts : (u,), images of each unit.
    """
    from scipy import stats

    seeds, units = differences.shape
    by_seed = differences.sum(axis=1) / counts.sum()
    difference = float(by_seed.mean())
    if min(seeds, units) < 2:
        return difference, None, None, None
    residuals = (differences.mean(axis=0) - difference * counts) / counts.mean()
    parts = np.array([by_seed.var(ddof=1) / seeds, residuals.var(ddof=1) / units])
    variance = parts.sum()
    if variance == 0:  # not one image is read otherwise by any seed
        return difference, difference, difference, float(difference == 0)
    freedom = variance**2 / (parts**2 / (seeds - 1, units - 1)).sum()
    half = float(stats.t.ppf(0.975, freedom) * variance**0.5)
    p = float(2 * stats.t.sf(abs(difference) / variance**0.5, freedom))
    return difference, difference - half, difference + half, p


def holm(p_values: Sequence[float]) -> list[float]:
    """p corrected for their number (S. Holm: A simple sequentially rejective test procedure, 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(order), 0, -1))
    return np.minimum(corrected, 1).tolist()


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means, then differences from `off`, as text of up to 105 columns."""
    means: dict[tuple[str, str], list[str]] = {}
    differences: dict[tuple[str, str], list[str]] = {}
    for m in summarise(rows):
        spread = "" if m.high is None else f" ± {100 * (m.high - m.mean):.2f}"
        means.setdefault((m.model, m.setting), [f"{m.n:>5}"]).append(f"{100 * m.mean:.2f}{spread}")
    for c in compare(rows):
        spread = "" if c.high is None else f" ± {100 * (c.high - c.difference):.2f}"
        p = "" if c.p is None else " p<0.001" if c.p < 0.001 else f" p={c.p:.3f}"
        cells = differences.setdefault((c.model, c.setting), means[c.model, c.setting][:1])
        cells.append(f"{100 * c.difference:+.2f}{spread}{p}")
    lines = ["Right answers in %: mean over the seeds ± its 95 % interval (Student's t)"]
    lines += _table(means)
    if differences:
        lines += [
            "",
            "Less those of off ± the 95 % interval, taking seeds and writers (test split: images) as random",
        ]
        lines += ["(Clark's min F'); p with Holm's correction over the comparisons of a model"]
        lines += _table(differences)
    return "\n".join(lines)


def _table(cells: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """Lines of a table whose first cell is narrow, with a head; the keys are model and setting."""
    head = f"{'':5}{'setting':23}seeds" + "".join(f"{title:>24}" for title in TEST_SETS.values())
    return [head] + [
        f"{MODELS[model][0]:5}{setting:23}{first}" + "".join(f"{cell:>24}" for cell in others)
        for (model, setting), (first, *others) in cells.items()
    ]


def plot(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    words: Mapping[str, str] | None = None,
) -> None:
    """Write the plot, a panel a test set, in the format of the path's suffix: .png, .svg or .pdf.

    `words` translates any of `TEXTS`. Raises InputError for another suffix.
    """
    from matplotlib.figure import Figure

    form = Path(path).suffix[1:]
    if form not in ("png", "svg", "pdf"):
        raise InputError(f"wanted a plot named .png, .svg or .pdf; got {path}.")
    said = {text: text for text in TEXTS} | dict(words or {})
    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    panels = figure.subplots(1, len(TEST_SETS))
    means = summarise(rows)
    places = list(SETTINGS)
    for axes, (test_set, title) in zip(panels, TEST_SETS.items(), strict=True):
        for side, (model, (name, colour)) in zip((-0.11, 0.11), MODELS.items(), strict=True):
            own = [m for m in means if (m.model, m.test_set) == (model, test_set)]
            if not own:
                continue
            singles = [row for row in rows if row["model"] == model]
            axes.plot(
                [places.index(row["setting"]) + 2 * side for row in singles],
                [100 * row["tests"][test_set]["accuracy"] for row in singles],
                "o",
                color=colour,
                alpha=0.3,
                markersize=5,
                markeredgewidth=0,
            )
            axes.errorbar(
                [places.index(m.setting) + side for m in own],
                [100 * m.mean for m in own],
                yerr=[100 * (m.high - m.mean) if m.high is not None else np.nan for m in own],
                fmt="D",
                color=colour,
                markersize=5,
                capsize=4,
                linewidth=1.6,
                label=said[name],
            )
        axes.set_title(said[title], loc="left", fontsize=11, color=INK)
        axes.set_xticks(range(len(places)), [textwrap.fill(said[text], 11) for text in places], fontsize=8)
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_ylim(max(axes.get_ylim()[0], 0), min(axes.get_ylim()[1], 100))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(said["right answers in %"])
    handles, labels = panels[0].get_legend_handles_labels()
    style: dict[str, Any] = {"ncols": 2, "frameon": False, "fontsize": 9.5, "title_fontsize": 8.5}
    figure.legend(handles, labels, title=said[LEGEND], loc="outside lower center", **style)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=150)
    write_safely(path, buffer.getvalue())


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a file of them, in one write to its end: lines of several processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, (json.dumps(row) + "\n").encode())
    finally:
        os.close(descriptor)


@contextmanager
def claimed(folder: Path, training: Mapping[str, Any]) -> Iterator[Path | None]:
    """The lock file of a training while this process holds it; None where another process does.

    The system releases a lock with its process, however that ends: none is ever stale. Windows has no such
    locks: there, one process is to do the work.
    """
    try:
        import fcntl
    except ImportError:
        fcntl = None  # type: ignore[assignment]

    text = json.dumps(training, sort_keys=True)
    name = f"{training['model']}-{training['seed']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.lock"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield folder / name


def measure(training: Mapping[str, Any], data: Sequence[Any], *, quiet: bool) -> dict[str, Any]:
    """Train and test on `data`: fitting split, choosing split, and what `load_tests` gives.

    Returns the row: the training's entries, `images` (fitted), `seconds`, `finished`, `versions` and `tests`.
    """
    train_set, validation_set, tests = data
    parts = ",".join(training["parts"]) or "all"
    run = Run("augmentation", training, quiet=quiet, directory=False)
    started = time.perf_counter()
    model, _ = TRAINERS[training["model"]].train(
        train_set,
        validation_set,
        seed=training["seed"],
        run=run,
        **{**training["config"], "augment": training["strength"], "augment_parts": parts},
    )
    seconds = time.perf_counter() - started
    return {
        **training,
        "images": len(train_set),
        "seconds": round(seconds, 2),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions("numpy", "torch", "scikit-learn"),
        "tests": {name: outcome(model.predict(images), *known) for name, (images, *known) in tests.items()},
    }


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "--drawn", metavar="FILE", help="recorded strokes to test on, .npz: cannot be left out"
    )
    parser.add_argument(
        "--drawn-part",
        choices=("test", "validation", "all"),
        default="test",
        help="which part of recorded strokes that have one for choosing and one for testing",
    )
    commandline.add_data_flags(parser)
    number: dict[str, Any] = {"type": commandline.positive_int, "metavar": "N"}
    parser.add_argument("--models", nargs="+", choices=MODELS, help="which to train (default: both)")
    parser.add_argument("--seeds", **number, default=5, help="trainings of the ANN with each setting")
    parser.add_argument("--svm-seeds", **number, default=3, help="of the SVM; one where nothing is random")
    parser.add_argument("--epochs", **number, default=4, help="of the ANN")
    parser.add_argument(
        "--copies", **number, default=train_svm.CONFIG["copies"], help="variants of each image for the SVM"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/augmentation"), metavar="DIR", help="the results' folder"
    )
    parser.add_argument("--quiet", action="store_true", help="print the tables alone")
    arguments = parser.parse_args(argv)

    record = arguments.output / "results.jsonl"
    everything = planned(arguments)
    wanted = [training for training in everything if training["model"] in (arguments.models or MODELS)]
    where = {name: getattr(arguments, name) for name in ("dataset", "data", "limit")}
    data: list[Any] = []
    for index, training in enumerate(wanted, 1):
        if is_done(training, read_rows(record)):
            continue
        if not data:
            tests = load_tests(arguments.drawn, arguments.drawn_part, **where)
            data += [datasets.load("train", **where), datasets.load("validation", **where), tests]
        with claimed(arguments.output / "locks", training) as lock:
            # Whoever held the lock until now may have finished it.
            if lock is None or is_done(training, read_rows(record)):
                continue
            title = f"{MODELS[training['model']][0]}, {training['setting']}, seed {training['seed']}"
            if not arguments.quiet:
                print(f"{title} ({index} of {len(wanted)})", flush=True)
            row = measure(training, data, quiet=arguments.quiet)
            append(record, row)
            with suppress(OSError):  # Windows keeps open files
                lock.unlink()
        if not arguments.quiet:
            right = [f"{TEST_SETS[name]} {test['accuracy']:.2%}" for name, test in row["tests"].items()]
            print(f"{title}: {', '.join(right)}; {row['seconds']:.0f} s\n", flush=True)

    rows = [
        row
        for row in read_rows(record)
        if any(is_same(row, training, ("model", *SHARED)) for training in everything)
    ]
    left = sum(not is_done(training, rows) for training in wanted)
    if rows:
        print(tables(rows))
        plot(rows, arguments.output / "augmentation.png")
        if not arguments.quiet:
            print(f"\nPlot: {commandline.shown(arguments.output / 'augmentation.png')}")
    if left:
        print(f"\nOther processes are at {left} of the trainings: the same command later shows them too.")


if __name__ == "__main__":
    commandline.run(main)
