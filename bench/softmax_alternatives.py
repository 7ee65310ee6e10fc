"""Softmax regression against its simple alternatives: least squares, and scikit-learn's logistic regression.

    OMP_NUM_THREADS=1 python bench/softmax_alternatives.py [--data DIR]

All of them are linear in the pixels and learn from MNIST's train split. Least squares fits one-hot targets.
Logistic regression is the same model as ours, fitted by L-BFGS; it stops after 100 steps, before it has
converged. A line for each goes to `results/softmax_alternatives.jsonl`, which the report shows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import train_softmax
from toolkit import commandline, datasets, files, tracking
from toolkit.features import pixels

import numpy as np

STEPS = 100  # of L-BFGS


Predict = Callable[[np.ndarray], np.ndarray]  # from pixels, float32 (n, 784), to digits


def softmax(train_set: datasets.ImageSet) -> Predict:
    run = tracking.Run("train-softmax", {}, quiet=True, directory=False)
    model, _ = train_softmax.train(train_set, None, train_softmax.Config(), seed=0, run=run)
    return lambda other: np.asarray((other @ model.weights + model.biases).argmax(axis=1))


def least_squares(train_set: datasets.ImageSet) -> Predict:
    with_bias = np.column_stack([pixels(train_set.images), np.ones(len(train_set))])
    # Pixels that are never inked make the matrix singular; `lstsq` takes the smallest solution.
    weights = np.linalg.lstsq(
        with_bias.T @ with_bias, with_bias.T @ np.eye(10)[train_set.labels], rcond=1e-10
    )[0]
    return lambda other: np.asarray((other @ weights[:-1] + weights[-1]).argmax(axis=1))


def logistic(train_set: datasets.ImageSet) -> Predict:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    warnings.simplefilter("ignore", ConvergenceWarning)
    return LogisticRegression(max_iter=STEPS).fit(pixels(train_set.images), train_set.labels).predict


METHODS = {
    "train_softmax.py": softmax,
    "least squares on one-hot targets": least_squares,
    f"LogisticRegression(max_iter={STEPS})": logistic,
}


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "--output", default="results/softmax_alternatives.jsonl", metavar="FILE", help="lines"
    )
    datasets.add_flags(parser)
    arguments = parser.parse_args(argv)
    where = {"dataset": arguments.dataset, "data": arguments.data, "limit": arguments.limit}
    sets = {split: datasets.load(split, **where) for split in ("train", "validation", "test")}
    rows = []
    for name, method in METHODS.items():
        started = time.perf_counter()
        predict = method(sets["train"])
        row = {"method": name, "seconds": time.perf_counter() - started}
        for split, images in sets.items():
            row[split] = float((predict(pixels(images.images)) == images.labels).mean())
        rows.append(row)
        print(row, flush=True)
    files.write_lines(arguments.output, rows)


if __name__ == "__main__":
    commandline.run(main)
