"""Train softmax regression.

python train_softmax.py              # trained/softmax.safetensors, and a record in runs/
python train_softmax.py --augment    # with random variants of the images in every epoch
python train_softmax.py --final      # on all 60,000 images
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from classifier import option
from softmax import Softmax, loss_and_gradient
from toolkit import commandline, training
from toolkit.features import pixels
from toolkit.training import WATCHED

import numpy as np

if TYPE_CHECKING:
    from toolkit.datasets import ImageSet
    from toolkit.tracking import Run


@dataclass(frozen=True)
class Config(training.Augmented):
    """How it is trained: by stochastic gradient descent with momentum."""

    RENAMED: ClassVar[Mapping[str, str]] = {"penalty": "weight_decay"}

    learning_rate: float = option(
        0.5, "of the first epoch; falls to 0 along a half cosine", low=1e-8, high=100
    )
    momentum: float = option(0.9, "share of the last step that the next one keeps", low=0, high=0.9999)
    weight_decay: float = option(1e-5, "on half the sum of the squared weights (L2)", low=0, high=10)
    batch_size: int = option(256, "images per step", low=1, high=60_000)
    epochs: int = option(20, "passes over the training split", low=1, high=10_000)


def train(
    train_set: ImageSet, validation_set: ImageSet | None, config: Config, *, seed: int, run: Run
) -> tuple[Softmax, dict[str, Any]]:
    """Train softmax regression. Arguments, results and errors are as in `train_ann.train`."""
    model = Softmax()
    velocity = {name: np.zeros_like(array) for name, array in model.arrays().items()}
    checkpoint = training.Checkpoint(run, config, seed)
    first, elapsed, state = checkpoint.restore(_state(model, velocity))
    if state:
        model.weights, model.biases = state["weights"], state["biases"]
        velocity = {name: state[f"velocity_{name}"] for name in velocity}
    steps = max(1, len(train_set) // config.batch_size)
    inputs = pixels(train_set.images)

    for epoch in range(first, config.epochs + 1):
        started = time.perf_counter()
        # Every epoch has its own seed, so that a resumed run goes on as if it had not stopped.
        order = np.random.default_rng([seed, epoch]).permutation(len(train_set))
        if config.augment:
            variety = [seed, epoch], config.augment, config.augment_parts
            inputs = pixels(training.variants(train_set.images, *variety))
        bar = run.progress(range(steps), f"epoch {epoch}/{config.epochs}")
        for step in bar:
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            loss, *gradients = loss_and_gradient(
                model.weights, model.biases, inputs[chosen], train_set.labels[chosen], config.weight_decay
            )
            progress = (epoch - 1 + step / steps) / config.epochs
            rate = np.float32(config.learning_rate * 0.5 * (1 + np.cos(np.pi * progress)))
            for (name, values), gradient in zip(model.arrays().items(), gradients, strict=True):
                velocity[name] = config.momentum * velocity[name] - rate * gradient
                values += velocity[name]
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss:.4f}")
        if not np.isfinite(model.weights).all():
            raise training.Diverged(epoch)
        measured = {}
        for split, part in (("train", train_set), ("val", validation_set)):
            if part is not None:
                shown, truth = pixels(part.images[:WATCHED]), part.labels[:WATCHED]
                measured[f"{split}_loss"] = loss_and_gradient(model.weights, model.biases, shown, truth)[0]
                right = (shown @ model.weights + model.biases).argmax(axis=1) == truth
                measured[f"{split}_accuracy"] = float(right.mean())
        elapsed += time.perf_counter() - started
        run.log(epoch, {**measured, "learning_rate": float(rate), "seconds": elapsed})
        checkpoint.write(_state(model, velocity), epoch, elapsed)

    metrics = training.validate(validation_set, model)
    return model, {**metrics, "epochs": config.epochs, "train_seconds": elapsed}


def _state(model: Softmax, velocity: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return everything that a training needs to go on."""
    return {**model.arrays(), **{f"velocity_{name}": array for name, array in velocity.items()}}


def main(argv: list[str] | None = None) -> None:
    job = training.parse("softmax", __doc__, Config, argv)
    data = training.load(job)
    with training.start(job) as run:
        model, metrics = train(data.train, data.validation, job.config, seed=job.seed, run=run)
        training.save(job, data, run, model, metrics)


if __name__ == "__main__":
    commandline.run(main)
