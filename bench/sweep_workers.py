"""Measure what a sweep costs beside its trainings, and how much faster two workers are than one.

    python bench/sweep_workers.py                # both; a few minutes on 2 cores

The sweep's own cost is measured with trainings that take no time: what is left is drawing hyperparameters,
writing the record and measuring the model. The workers train the same random trials, with one thread each.
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

from softmax import Softmax
from toolkit import commandline, datasets, sweep
from toolkit.sweep import Search, Settings

import sweep_comparison  # the small networks of its search space


def train(train_set: Any, validation_set: Any, config: Any, *, seed: int, run: Any) -> tuple[Softmax, dict]:
    """Log epochs that take no time, and return every metric of a real training."""
    from toolkit.metrics import evaluate

    model = Softmax()
    metrics = evaluate(validation_set.labels, model.predict_proba(validation_set.images))
    for epoch in range(1, config.epochs + 1):
        run.log(epoch, {"val_loss": config.dropout + 1 / epoch, "val_accuracy": metrics["accuracy"]})
    return model, {**metrics, "loss": config.dropout, "train_seconds": 0.0, "epochs": config.epochs}


def seconds(search: Search, settings: Settings) -> float:
    """Return how long a sweep takes in a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        sweep.run(search, dataclasses.replace(settings, db=f"sqlite:///{folder}/studies.db", quiet=True))
        return time.perf_counter() - started


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--trials", type=commandline.positive_int, default=16, help="that the workers train")
    free_trials = "trials that cost nothing to train"
    parser.add_argument("--free-trials", type=commandline.positive_int, default=100, help=free_trials)
    datasets.add_flags(parser)
    parser.set_defaults(limit=2000)
    arguments = vars(parser.parse_args(argv))
    count = arguments.pop("free_trials")
    settings = Settings(**arguments)

    search = sweep_comparison.SEARCH
    free = dataclasses.replace(search, train=train)
    for sampler in ("tpe", "random"):
        own = dataclasses.replace(settings, sampler=sampler, limit=20)
        few, many = (seconds(free, dataclasses.replace(own, trials=trials)) for trials in (1, 1 + count))
        print(
            f"{sampler}: {(many - few) / count:.3f} s a trial beside its training (mean of {count}, SQLite)"
        )

    os.environ.update(dict.fromkeys(sweep.THREAD_VARIABLES, "1"))
    settings = dataclasses.replace(settings, sampler="random", pruner="none")
    one, two = (seconds(search, dataclasses.replace(settings, workers=workers)) for workers in (1, 2))
    print(
        f"{settings.trials} trials: {one:.1f} s with one worker, {two:.1f} s with two ({one / two:.2f} times)"
    )


if __name__ == "__main__":
    commandline.run(main)
