"""What a sweep costs beside its trainings, and how much faster two workers are than one.

    python bench/sweep_workers.py                # both; a few minutes on 2 cores

The engine's cost is measured with the ANN's search space and a training that takes no time: what is left is
drawing hyperparameters, writing the record and measuring the model. The workers train the same random
trials, with one thread each.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import sweep_comparison  # the small networks of its search space

import sweep_ann
import sweep_svm
import train_ann
from classifier import Classifier
from toolkit import commandline, datasets, sweep, trials
from toolkit.datasets import ImageSet


class Nothing(Classifier):
    """Answers at once."""

    kind, name = "nothing", "Nothing"

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 10), 0.1, np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": np.zeros(10, np.float32)}

    def set_arrays(self, arrays: Any) -> None:
        pass


def load(split: str, **_: Any) -> ImageSet:
    return ImageSet(np.zeros((10, 28, 28), np.uint8), np.arange(10), split)


def train(
    train_set: ImageSet, validation_set: ImageSet, config: train_ann.Config, *, seed: int, run: Any
) -> tuple[Nothing, dict]:
    """Log epochs that take no time, and return every metric of a real training."""
    from toolkit.metrics import evaluate

    loss = abs(np.log10(config.learning_rate) + 2.5) + config.dropout
    for epoch in range(1, config.epochs + 1):
        run.log(
            epoch,
            {"train_loss": loss, "train_accuracy": 0.9, "val_loss": loss + 1 / epoch, "val_accuracy": 0.9},
        )
    model = Nothing()
    metrics = evaluate(validation_set.labels, model.probabilities(validation_set.images))
    return model, {**metrics, "loss": loss, "train_seconds": 0.0, "epochs": config.epochs}


def measure_engine(count: int) -> None:
    search = dataclasses.replace(sweep_ann.SEARCH, train=train, load=load)
    for sampler in ("tpe", "random"):
        for pruner in ("hyperband", "none"):
            with tempfile.TemporaryDirectory() as folder:
                settings = sweep.Settings(
                    trials=1, sampler=sampler, pruner=pruner, db=f"sqlite:///{folder}/studies.db", quiet=True
                )
                sweep.work(search, settings)  # imports, tables
                started = time.perf_counter()
                sweep.work(search, dataclasses.replace(settings, trials=1 + count))
                seconds = (time.perf_counter() - started) / count
            what = f"engine's cost, {sampler}, pruner {pruner}"
            print(f"{what}: {seconds:.3f} s a trial (mean of {count}, SQLite)")


def measure_workers(kind: str, count: int, limit: int, arguments: Any) -> None:
    search = {"ann": sweep_comparison.SEARCH, "svm": sweep_svm.SEARCH}[kind]
    os.environ.update(dict.fromkeys(sweep.THREAD_VARIABLES, "1"))
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            settings = sweep.Settings(
                trials=count,
                sampler="random",
                pruner="none",
                workers=workers,
                db=f"sqlite:///{folder}/studies.db",
                dataset=arguments.dataset,
                data=arguments.data,
                limit=limit,
                quiet=True,
            )
            started = time.perf_counter()
            sweep.run(search, settings)
            seconds[workers] = time.perf_counter() - started
            assert len(trials.read_trials(settings.db, kind)) >= count
        print(
            f"{kind}, {count} trials on {limit} images, {workers} worker(s): {seconds[workers]:.1f} s",
            flush=True,
        )
    print(f"two workers are {seconds[1] / seconds[2]:.2f} times as fast as one")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "--engine-trials", type=int, default=100, help="trials to measure the engine by; 0 for none"
    )
    parser.add_argument("--trials", type=int, default=16, help="trials to measure the workers by; 0 for none")
    parser.add_argument("--kind", choices=("ann", "svm"), default="ann", help="what the workers train")
    datasets.add_flags(parser)
    parser.set_defaults(limit=2000)
    arguments = parser.parse_args(argv)
    if arguments.engine_trials:
        measure_engine(arguments.engine_trials)
    if arguments.trials:
        measure_workers(arguments.kind, arguments.trials, arguments.limit, arguments)


if __name__ == "__main__":
    commandline.run(main)
