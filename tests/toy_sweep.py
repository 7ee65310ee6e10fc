"""A sweep whose training takes no time and no data: a command line for tests, switched by the environment.

TOY_SLEEP   seconds of an epoch
TOY_RAISE   the training raises MemoryError where x is above this
TOY_KILL    the process kills itself where x is above this
TOY_NAN     the loss is NaN where x is above this
TOY_BEAT    seconds between two heartbeats of wandb's agent
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from classifier import Classifier
from toolkit import commandline, sweep
from toolkit.datasets import ImageSet

if os.environ.get("TOY_BEAT"):
    from wandb.agents import pyagent

    pyagent.Agent.HEARTBEAT_SLEEP_SECONDS = float(os.environ["TOY_BEAT"])

EPOCHS = 4
SPACE = {
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3},
    "parameters": {
        "x": {"min": 0.0, "max": 1.0},
        "kernel": {"values": ["plain", "curved"]},
        "gamma": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1.0},
        "depth": {"min": 1, "max": 4},
        "epochs": {"value": EPOCHS},
    },
}
CONDITIONS = {"gamma": {"kernel": ["curved"]}}


class Toy(Classifier):
    """Says of every image that it may be any digit."""

    kind, name = "toy", "Toy"

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 10), 0.1, np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": np.zeros(self.config["depth"], np.float32)}

    def set_arrays(self, arrays) -> None:
        pass


def load(split: str, *, dataset: str, data: str | None, limit: int | None) -> ImageSet:
    return ImageSet(np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10, f"toy/{split}")


def above(variable: str, x: float) -> bool:
    return x > float(os.environ.get(variable) or 2)


def train(train_set, validation_set, *, seed, run, x, kernel, depth, epochs, gamma=None):
    from toolkit.evaluation import evaluate

    assert (gamma is None) == (kernel == "plain")
    for epoch in range(1, epochs + 1):
        time.sleep(float(os.environ.get("TOY_SLEEP") or 0))
        loss = (x - 0.3) ** 2 + 1 / epoch + (0.5 if kernel == "curved" else 0)
        run.log(
            epoch, {"train_loss": loss, "train_accuracy": 0.9, "val_loss": loss + 0.01, "val_accuracy": 0.8}
        )
    if above("TOY_RAISE", x):
        raise MemoryError("no room for x")
    if above("TOY_KILL", x):
        os.kill(os.getpid(), signal.SIGKILL)
    model = Toy(depth=depth)
    metrics = evaluate(validation_set.labels, model.probabilities(validation_set.images))
    loss = math.nan if above("TOY_NAN", x) else loss
    return model, {**metrics, "loss": loss, "accuracy": 1 - loss / 10, "train_seconds": 0.5, "epochs": epochs}


SEARCH = sweep.Search("toy", SPACE, train, conditions=CONDITIONS, load=load)


def main(argv: list[str] | None = None) -> None:
    sweep.main(SEARCH, "A toy.", argv)


if __name__ == "__main__":
    commandline.run(main)
