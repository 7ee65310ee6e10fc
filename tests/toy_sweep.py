"""A sweep whose training takes no time and no data: a command line for tests, switched by the environment.

TOY_SLEEP   seconds of an epoch
TOY_RAISE   the training raises MemoryError when x is above this
TOY_KILL    the process kills itself when x is above this
TOY_NAN     the loss is NaN when x is above this
TOY_BEAT    seconds between two heartbeats of wandb's agent
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from classifier import Classifier, option
from classifier import Config as BaseConfig
from toolkit import commandline, sweep
from toolkit.datasets import ImageSet

import numpy as np

if os.environ.get("TOY_BEAT"):
    from wandb.agents import pyagent

    pyagent.Agent.HEARTBEAT_SLEEP_SECONDS = float(os.environ["TOY_BEAT"])

EPOCHS = 4


@dataclass(frozen=True)
class Config(BaseConfig):
    x: float = option(0.5, "the loss is least at 0.3", low=0, high=1)
    kernel: str = option("plain", "curved is worse", choices=("plain", "curved"))
    gamma: float = option(1.0, "of curved", above=0)
    depth: int = option(1, "parameters of the model", low=1, high=4)
    epochs: int = option(EPOCHS, "passes", low=1)


def space() -> dict:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    return {
        "x": FloatDistribution(0, 1),
        "kernel": CategoricalDistribution(["plain", "curved"]),
        "gamma": (FloatDistribution(1e-3, 1, log=True), lambda drawn: drawn["kernel"] == "curved"),
        "depth": IntDistribution(1, 4),
    }


# What `evaluate` returns for the toy's answers, without the seconds that scikit-learn's import takes.
MEASURED = {
    **{"macro_precision": 0.01, "macro_recall": 0.1, "macro_f1": 1 / 55},
    **{"worst_precision": 0.0, "worst_recall": 0.0, "log_loss": math.log(10)},
    "per_class": {
        "precision": [0.1, *[0.0] * 9],
        "recall": [1.0, *[0.0] * 9],
        "f1": [2 / 11, *[0.0] * 9],
        "support": [2] * 10,
    },
    "confusion": [[2, *[0] * 9] for _ in range(10)],
}


class Toy(Classifier):
    """Says of every image that it may be any digit."""

    kind, name, Config = "toy", "Toy", Config

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 10), 0.1, np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": np.zeros(self.config.depth, np.float32)}

    def set_arrays(self, arrays) -> None:
        pass


def load(split: str, *, dataset: str, data: str | None, limit: int | None) -> ImageSet:
    return ImageSet(np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10, f"toy/{split}")


def above(variable: str, x: float) -> bool:
    return x > float(os.environ.get(variable) or 2)


def train(train_set, validation_set, config, *, seed, run):
    model = Toy(**config.values())
    for epoch in range(1, config.epochs + 1):
        time.sleep(float(os.environ.get("TOY_SLEEP") or 0))
        loss = (config.x - 0.3) ** 2 + 1 / epoch + (0.5 if config.kernel == "curved" else 0)
        metrics = {"train_loss": loss, "train_accuracy": 0.9, "val_loss": loss + 0.01}
        run.log(epoch, {**metrics, "val_accuracy": 1 - loss / 10}, model)
    if above("TOY_RAISE", config.x):
        raise MemoryError("no room for x")
    if above("TOY_KILL", config.x):
        os.kill(os.getpid(), signal.SIGKILL)
    loss = math.nan if above("TOY_NAN", config.x) else loss
    return model, {
        **MEASURED,
        "loss": loss,
        "accuracy": 1 - loss / 10,
        "train_seconds": 0.5,
        "epochs": config.epochs,
    }


SEARCH = sweep.Search("toy", Config, train, space, load=load)


def main(argv: list[str] | None = None) -> None:
    sweep.main(SEARCH, "A toy.", argv)


if __name__ == "__main__":
    commandline.run(main)
