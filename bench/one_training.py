"""Fit one model in this process, and print what it took as a line of JSON.

    python bench/one_training.py svm --limit 15000    # svm.SVM, default configuration
    python bench/one_training.py ann --copies 3       # one epoch, with 3 variants of each image added
    python bench/one_training.py pixels --test        # scikit-learn's SVC on pixels; 10,000 predictions

It prints the number of images, seconds, and megabytes: `base` before the data is loaded, `peak` at the most.
A first fit on a few images is not counted: it loads libraries. The benchmarks start this as a fresh process
each time, because only then is the peak the model's own.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolkit import commandline, datasets, tracking, training

import first_model
import numpy as np
from measuring import forget_peak, memory

Predict = Callable[[np.ndarray], np.ndarray]
LIKE = 99.0  # the accuracy whose network is trained
WARM_UP = 220  # images: more than principal components


def fit_svm(images: np.ndarray, labels: np.ndarray) -> Predict:
    """Fit the toolkit's SVM."""
    import svm

    return svm.SVM().fit(images, labels).predict


def fit_pixels(images: np.ndarray, labels: np.ndarray) -> Predict:
    """Fit scikit-learn's SVM on pixels, as people do."""
    from sklearn.svm import SVC

    machine = SVC(C=5, gamma=0.02).fit(images.reshape(len(images), -1) / 255, labels)
    return lambda images: machine.predict(images.reshape(len(images), -1) / 255)


def fit_ann(images: np.ndarray, labels: np.ndarray) -> Predict:
    """Train the toolkit's quickest network for an epoch."""
    import train_ann

    config = dataclasses.replace(first_model.config(LIKE), epochs=1)
    run = tracking.Run("bench", {}, quiet=True, directory=False)
    train_set = datasets.ImageSet(images, labels, "bench")
    return train_ann.train(train_set, None, config, seed=0, run=run)[0].predict


FITS = {"svm": fit_svm, "pixels": fit_pixels, "ann": fit_ann}


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("model", choices=tuple(FITS), help="what to fit")
    parser.add_argument("--copies", type=int, default=0, help="variants of each image to add")
    parser.add_argument("--test", action="store_true", help="time the predictions of the test split, too")
    datasets.add_flags(parser)
    arguments = parser.parse_args(argv)

    def load(split: str, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        part = datasets.load(split, dataset=arguments.dataset, data=arguments.data, limit=limit)
        return part.images, part.labels

    few = load("all", WARM_UP)
    FITS[arguments.model](*few)
    if arguments.copies:
        training.variants(few[0], [0, 0], 1.0)
    result: dict[str, Any] = {"base": memory("VmRSS")}
    images, labels = load("all", arguments.limit)
    forget_peak()
    if arguments.copies:
        added = [training.variants(images, [0, copy], 1.0) for copy in range(arguments.copies)]
        images, labels = np.concatenate([images, *added]), np.tile(labels, 1 + len(added))
        del added
    started = time.perf_counter()
    predict = FITS[arguments.model](images, labels)
    result |= {"images": len(images), "seconds": time.perf_counter() - started, "peak": memory("VmHWM")}
    if arguments.test:
        tests, truth = load("test")
        predict(tests[:10])
        started = time.perf_counter()
        answers = predict(tests)
        result["predict"] = time.perf_counter() - started
        result |= {"predicted": len(tests), "accuracy": float((answers == truth).mean())}
    print(json.dumps(result))


if __name__ == "__main__":
    commandline.run(main)
