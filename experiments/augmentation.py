"""Measure what augmentation does for digits that are drawn: five settings, several seeds, three test sets.

    python experiments/augmentation.py
    python experiments/augmentation.py --drawn captured/me.npz --seeds 2 --epochs 1 --limit 2000 --models ann

Both models are trained with the augmentations of `SETTINGS`. Each is tested on the test split, on recorded
drawings framed as the window frames them, and on the same drawings as a program without framing sees them.
After Ctrl-C or a kill, the same command goes on.

A mean's 95 % interval is Student's t over the seeds: how much chance in training matters on these very test
sets. Whether a setting differs from `off` must hold for other people, too. So that test takes both the seeds
and the writers as random; on the test split, whose writers are unknown, the images. It is min F' of H. Clark,
The language-as-fixed-effect fallacy, 1973, corrected over all comparisons of a model (S. Holm, 1979).

Measured with --epochs 2 --copies 1 (`results/augmentation.jsonl`): on framed drawings, all of it gives the
ANN 2.2 ± 1.5 points (p = 0.04, 5 seeds) and the SVM 2.3 ± 1.5 points (p = 0.07, 3 seeds).
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import train_ann
import train_svm
from toolkit import commandline, datasets
from toolkit.augment import RANGES
from toolkit.drawings import PARTS, in_parts, load, select
from toolkit.drawings import find as find_set
from toolkit.files import InputError, append_line, check_writable, read_lines, versions
from toolkit.framing import frame_strokes
from toolkit.tracking import Run

TRAINERS: dict[str, Any] = {"ann": train_ann, "svm": train_svm}
# The strength, and which augmentations.
SETTINGS: dict[str, tuple[float, tuple[str, ...]]] = {
    "off": (0.0, ()),
    "translation and scale": (1.0, ("translation", "scale")),
    "0.33 of all": (0.33, tuple(RANGES)),
    "0.67 of all": (0.67, tuple(RANGES)),
    "all": (1.0, tuple(RANGES)),
}
MODELS = {"ann": "ANN", "svm": "SVM"}
TEST_SETS = {"test": "test split", "framed": "drawings, framed", "canvas": "drawings, not framed"}
CANVAS, PEN = 280, 20  # pixels, as in the usual window of a program that shrinks its canvas to 28 x 28
# What all trainings of an experiment share; `ranges` says what strength 1 means.
SHARED = ("dataset", "limit", "drawn", "drawn_sha256", "drawn_part", "ranges")
LEFT_OUT = ("augment", "augment_parts", "jobs", "device")  # of a row's configuration: what varies, or where
Row = dict[str, Any]
Tests = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]  # images, labels, writers if known


@dataclass(frozen=True)
class Mean:
    """The mean accuracy (0 to 1) of a model with a setting, and its 95 % interval, None for one seed."""

    model: str
    setting: str
    test_set: str
    values: tuple[float, ...]  # of the seeds
    mean: float
    low: float | None
    high: float | None

    @property
    def n(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Comparison:
    """The accuracy of a setting less that of `off` (-1 to 1), its 95 % interval, and p corrected by Holm.

    Interval and p are None when there is only one seed, or one writer or image.
    """

    model: str
    setting: str
    test_set: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    test: str  # what was taken as random: "seeds and writers" or "seeds and images"


def canvas_picture(strokes: Sequence[np.ndarray], side: float) -> np.ndarray:
    """Draw a digit as a program without framing sees it: its whole canvas, shrunk by averaging.

    Strokes are (k, 2) each, in the unit of `side`, the canvas's. Returns uint8 (28, 28), 0 paper, 255 ink.
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


def load_tests(drawn: str | os.PathLike[str], part: str, **where: Any) -> Tests:
    """Load images uint8 (n, 28, 28), labels (n,) and writers (n,) of each of `TEST_SETS`.

    The canvas is a square from 0 to the file's largest coordinate. `where` is as in `datasets.load`.
    Raises InputError when there are no such data.
    """
    drawings = load(drawn)
    side = max((float(stroke.max(initial=1)) for digit in drawings.strokes for stroke in digit), default=1.0)
    # Drawings that were imported as pictures have no strokes, so nothing to draw again.
    inked = np.array([any(map(len, digit)) for digit in drawings.strokes], dtype=bool)
    drawings = select(drawings, inked)
    drawings = drawings if part == "all" else in_parts(drawings, part)
    if not len(drawings):
        raise InputError(f"{drawn} holds no strokes to test on.")
    framed = np.stack([frame_strokes(digit) for digit in drawings.strokes])
    canvas = np.stack([canvas_picture(digit, side) for digit in drawings.strokes])
    test_set = datasets.load("test", **where)
    return {
        "test": (test_set.images, test_set.labels, None),
        "framed": (framed, drawings.labels, drawings.writers),
        "canvas": (canvas, drawings.labels, drawings.writers),
    }


def outcome(read: np.ndarray, labels: np.ndarray, writers: np.ndarray | None) -> dict[str, Any]:
    """Return what a row keeps of one test set: `accuracy`, `count`, and what comparisons need.

    That is `writers`, with [right answers, drawings] of each, when there are two or more. Otherwise it is
    `wrong`, the indices of the images read wrong.
    """
    right = read == labels
    result: dict[str, Any] = {"accuracy": float(right.mean()), "count": len(right)}
    if writers is None or len(set(writers.tolist())) < 2:
        return {**result, "wrong": np.flatnonzero(~right).tolist()}
    own = {str(name): right[writers == name] for name in np.unique(writers)}
    return {**result, "writers": {name: [int(each.sum()), len(each)] for name, each in own.items()}}


def planned(arguments: argparse.Namespace) -> list[Row]:
    """List the trainings of an experiment, seed by seed: of each, the entries that identify its row."""
    drawn = find_set(arguments.drawn)
    if not drawn.is_file():
        raise InputError(f"wanted a file of recorded strokes, .npz; there is none at {drawn}.")
    shared = {name: getattr(arguments, name) for name in ("dataset", "limit", "drawn_part")}
    shared.update(drawn=drawn.name, drawn_sha256=hashlib.sha256(drawn.read_bytes()).hexdigest()[:16])
    shared["ranges"] = RANGES
    chosen = {"ann": {"epochs": arguments.epochs}, "svm": {"copies": arguments.copies}}
    seeds = {"ann": arguments.seeds, "svm": arguments.svm_seeds}
    trainings = []
    for seed, model, setting in itertools.product(range(max(seeds.values())), MODELS, SETTINGS):
        # Without augmentation nothing in an SVM is random.
        if seed < (1 if (model, setting) == ("svm", "off") else seeds[model]):
            strength, parts = SETTINGS[setting]
            training = {"model": model, "setting": setting, "seed": seed, "strength": strength}
            config = TRAINERS[model].Config(**chosen[model]).values()
            config = {name: value for name, value in config.items() if name not in LEFT_OUT}
            trainings.append({**training, "parts": list(parts), **shared, "config": config})
    return trainings


def find(rows: Sequence[Row], training: Row) -> Row | None:
    """Return the row of a training, or None. A row may lack options, as new ones are off by default."""
    config, others = training["config"], {**training, "config": None}
    for row in rows:
        if others.items() <= {**row, "config": None}.items() and config == {**config, **row["config"]}:
            return row
    return None


def load_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Read the rows of the largest experiment in a `results.jsonl`: one data set, one configuration a model.

    So a quick look in the same folder changes nothing. [] when there is no such file.
    """
    rows = _largest(read_lines(path), lambda row: [row.get(name) for name in SHARED])
    by_model = [[row for row in rows if row.get("model") == model] for model in MODELS]
    return [row for own in by_model for row in _largest(own, lambda row: row["config"])]


def _largest(rows: list[Row], key: Callable[[Row], Any]) -> list[Row]:
    """Return the largest group of rows with the same key; the latest of equally large ones."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(json.dumps(key(row), sort_keys=True), []).append(row)
    return max(reversed(groups.values()), key=len, default=[])


def _by_seed(rows: Sequence[Row], model: str, setting: str) -> dict[int, Row]:
    """Return one row a seed, in the order of the seeds."""
    own = [row for row in rows if (row["model"], row["setting"]) == (model, setting)]
    return {row["seed"]: row for row in sorted(own, key=lambda row: row["seed"])}


def summarise(rows: Sequence[Row]) -> list[Mean]:
    """Return the mean accuracy over the seeds, and its 95 % interval, wherever there are rows."""
    from scipy import stats

    means = []
    for model, setting, test_set in itertools.product(MODELS, SETTINGS, TEST_SETS):
        done = _by_seed(rows, model, setting).values()
        values = tuple(row["tests"][test_set]["accuracy"] for row in done)
        if values:
            n, mean = len(values), float(np.mean(values))
            half = float(stats.t.ppf(0.975, n - 1) * stats.sem(values)) if n > 1 else None
            ends = (None, None) if half is None else (mean - half, mean + half)
            means.append(Mean(model, setting, test_set, values, mean, *ends))
    return means


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Compare every setting with `off`, paired over the seeds and the writers (or images) of a test set."""
    comparisons = []
    for model in MODELS:
        off, own = _by_seed(rows, model, "off"), []
        for setting, test_set in itertools.product(list(SETTINGS)[1:], TEST_SETS):
            done = _by_seed(rows, model, setting)
            # An SVM without augmentation is the same for every seed: it is every seed's partner.
            partners = {seed: off.get(0 if model == "svm" else seed) for seed in done}
            pairs = [(done[seed]["tests"], row["tests"]) for seed, row in partners.items() if row]
            if pairs:
                tests = [(_right(one[test_set]), _right(other[test_set])) for one, other in pairs]
                differences = np.array([one - other for (one, _), (other, _) in tests])
                units = "writers" if "writers" in pairs[0][0][test_set] else "images"
                numbers = paired_test(differences, tests[0][0][1])
                own.append(Comparison(model, setting, test_set, *numbers, f"seeds and {units}"))
        corrected = iter(holm([c.p for c in own if c.p is not None]))
        comparisons += [c if c.p is None else replace(c, p=next(corrected)) for c in own]
    return comparisons


def _right(test: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return right answers and images of each writer, both (u,); without writers, of each image."""
    if "writers" in test:
        right, counts = np.array([test["writers"][name] for name in sorted(test["writers"])], dtype=float).T
        return right, counts
    right = np.ones(test["count"])
    right[test["wrong"]] = 0
    return right, np.ones(test["count"])


def paired_test(
    differences: np.ndarray, counts: np.ndarray
) -> tuple[float, float | None, float | None, float | None]:
    """Return the difference of accuracies, its 95 % interval and p; seeds and units are both random.

    The variance of a mean over two crossed random factors is at most the sum of the two variances that either
    factor alone gives. That sum, with Satterthwaite's degrees of freedom, is Clark's min F' (a t here).
    Writers with more drawings count more, as they do in the accuracy (linearised ratio: W. Cochran, Sampling
    techniques, 1977, chapter 6).

    Parameters
    ----------
    differences : (seeds, u), how many more images of a unit (a writer or an image) are read right.
    counts : (u,), images of each unit.
    """
    from scipy import stats

    seeds, units = differences.shape
    by_seed = differences.sum(axis=1) / counts.sum()
    difference = float(by_seed.mean())
    if min(seeds, units) < 2:
        return difference, None, None, None
    residuals = (differences.mean(axis=0) - difference * counts) / counts.mean()
    parts = np.array([stats.sem(by_seed), stats.sem(residuals)]) ** 2
    error = float(parts.sum() ** 0.5)
    if error == 0:  # every seed reads every image as the others do
        return difference, difference, difference, float(difference == 0)
    freedom = error**4 / (parts**2 / (seeds - 1, units - 1)).sum()
    half = float(stats.t.ppf(0.975, freedom) * error)
    p = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return difference, difference - half, difference + half, p


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p for their number (S. Holm: A simple sequentially rejective test procedure, 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(order), 0, -1))
    return np.minimum(corrected, 1).tolist()


def table(rows: Sequence[Row]) -> str:
    """Write the means and the differences from `off` as text, a line for each model, setting and test set."""
    compared = {(c.model, c.setting, c.test_set): c for c in compare(rows)}
    lines = [
        "Right answers in %: mean over the seeds ± its 95 % interval (Student's t). Less those of off ± the",
        "95 % interval, taking seeds and writers (test split: images) as random; p after Holm's correction.",
        f"{'':5}{'setting':23}seeds  {'test set':22}{'right answers':>15}{'less off':>16}",
    ]
    for mean in summarise(rows):
        line = f"{MODELS[mean.model]:5}{mean.setting:23}{mean.n:>5}  {TEST_SETS[mean.test_set]:22}"
        line += f"{_percent(mean.mean, mean.high):>15}"
        if c := compared.get((mean.model, mean.setting, mean.test_set)):
            line += f"{_percent(c.difference, c.high, '+'):>16}" + ("" if c.p is None else f"  p = {c.p:.2g}")
        lines.append(line)
    return "\n".join(lines)


def _percent(value: float, high: float | None, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f}" + ("" if high is None else f" ± {100 * (high - value):.2f}")


def measure(training: Row, splits: Sequence[datasets.ImageSet], tests: Tests, *, quiet: bool) -> Row:
    """Train on the train and validation splits, test on what `load_tests` returned, and return the row."""
    trainer = TRAINERS[training["model"]]
    parts = ",".join(training["parts"]) or "all"
    config = trainer.Config(**training["config"], augment=training["strength"], augment_parts=parts)
    started = time.perf_counter()
    with Run("augmentation", training, quiet=quiet, directory=False) as run:
        model, _ = trainer.train(*splits, config, seed=training["seed"], run=run)
    seconds = round(time.perf_counter() - started, 2)
    return {
        **training,
        "images": len(splits[0]),
        "seconds": seconds,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions("numpy", "torch", "scikit-learn"),
        "tests": {name: outcome(model.predict(x), y, writers) for name, (x, y, writers) in tests.items()},
    }


def _parser() -> commandline.Parser:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    add("--drawn", metavar="SET", default="pendigits", help="recorded strokes to test on, .npz")
    part = "of recorded strokes that have parts"
    add("--drawn-part", choices=(*PARTS, "all"), default="test", help=part)
    datasets.add_flags(parser)
    number: dict[str, Any] = {"type": commandline.positive_int, "metavar": "N"}
    add("--models", nargs="+", choices=MODELS, help="which to train (default: both)")
    add("--seeds", **number, default=5, help="trainings of the ANN with each setting")
    add("--svm-seeds", **number, default=3, help="of the SVM; without augmentation, one is enough")
    add("--epochs", **number, default=4, help="of the ANN")
    add("--copies", **number, default=train_svm.Config.copies, help="variants of each image for the SVM")
    add("--output", type=Path, default=Path("runs/augmentation"), metavar="DIR", help="the results' folder")
    add("--quiet", action="store_true", help="print the table only")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    record, picture = arguments.output / "results.jsonl", arguments.output / "augmentation.png"
    trainings, models = planned(arguments), arguments.models or MODELS
    check_writable(record)
    rows = read_lines(record)
    left = [training for training in trainings if training["model"] in models and not find(rows, training)]
    if left:
        where = {name: getattr(arguments, name) for name in ("dataset", "data", "limit")}
        tests = load_tests(arguments.drawn, arguments.drawn_part, **where)
        splits = [datasets.load(split, **where) for split in ("train", "validation")]
    for number, training in enumerate(left, start=1):
        title = f"{MODELS[training['model']]}, {training['setting']}, seed {training['seed']}"
        if not arguments.quiet:
            print(f"{title} ({number} of {len(left)})", flush=True)
        row = measure(training, splits, tests, quiet=arguments.quiet)
        append_line(record, row)
        rows.append(row)
        if not arguments.quiet:
            right = [f"{TEST_SETS[name]} {test['accuracy']:.2%}" for name, test in row["tests"].items()]
            print(f"{title}: {', '.join(right)}; {row['seconds']:.0f} s\n", flush=True)

    from toolkit import figures

    found = [row for row in (find(rows, training) for training in trainings) if row]
    print(table(found))
    words = {**MODELS, **TEST_SETS}
    figure = figures.augmentation(summarise(found), label=lambda text: words.get(text, text))
    figures.save(figure, picture)
    if not arguments.quiet:
        print(f"\nPlot: {commandline.shown(picture)}")


if __name__ == "__main__":
    commandline.run(main)
