"""Train the softmax classifier.

python train_softmax.py              # trained/softmax.safetensors, and a record in runs/
python train_softmax.py --augment    # with random variants of the images in every epoch
python train_softmax.py --final      # on all 60,000 images
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from toolkit import commandline, training

if TYPE_CHECKING:
    from softmax import Softmax
    from toolkit.datasets import ImageSet
    from toolkit.tracking import Run

OPTIONS: dict[str, tuple[Any, str]] = {
    "learning_rate": (0.5, "of the first epoch; falls to 0 as a half cosine"),
    "momentum": (0.9, "part of the last step that the next one keeps"),
    "penalty": (1e-5, "on the sum of the squared weights, halved (L2)"),
    "batch_size": (256, "images a step"),
    "epochs": (20, "passes over the fitting split"),
    "augment": (0.0, "strength of the augmentation, 0 off; alone it means 1"),
}
CONFIG = {name: default for name, (default, _) in OPTIONS.items()}
WATCHED = 6_000  # images of the fitting split whose loss is measured at every epoch, as many as chosen on


def train(
    train_set: ImageSet, validation_set: ImageSet | None, *, seed: int, run: Run, **config: Any
) -> tuple[Softmax, dict[str, Any]]:
    """Fit a softmax classifier by stochastic gradient descent; arguments and results as in `train_ann`."""
    import numpy as np

    from softmax import Softmax, loss_and_gradient, pixels
    from toolkit.evaluation import evaluate

    config = training.complete(CONFIG, config)
    training.in_range(config, "learning_rate", 1e-8, 100)
    training.in_range(config, "momentum", 0, 0.9999)
    training.in_range(config, "penalty", 0, 10)
    training.in_range(config, "batch_size", 1, 60_000)
    training.in_range(config, "epochs", 1, 10_000)
    training.in_range(config, "augment", 0, 10)
    model = Softmax()
    moving = {"weights": np.zeros_like(model.weights), "biases": np.zeros_like(model.biases)}
    checkpoint = training.Checkpoint(run, config, seed)
    first, elapsed, state = checkpoint.restore()
    if state:
        model.weights, model.biases = state["weights"], state["biases"]
        moving = {"weights": state["moving_weights"], "biases": state["moving_biases"]}
    batch_size, epochs = config["batch_size"], config["epochs"]
    steps = max(1, len(train_set) // batch_size)
    inputs = pixels(train_set.images)

    for epoch in range(first, epochs + 1):
        started = time.perf_counter()
        # Every epoch has its own seed, so that a resumed run goes on as if it had not stopped.
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(train_set))
        if config["augment"]:
            inputs = pixels(
                training.variants(train_set.images, train_set.labels, [seed, epoch], config["augment"])
            )
        bar = run.progress(range(steps), f"epoch {epoch}/{epochs}")
        for step in bar:
            chosen = order[step * batch_size : (step + 1) * batch_size]
            loss, by_weights, by_biases = loss_and_gradient(
                model.weights, model.biases, inputs[chosen], train_set.labels[chosen], config["penalty"]
            )
            progress = (epoch - 1 + step / steps) / epochs
            rate = config["learning_rate"] * 0.5 * (1 + np.cos(np.pi * progress))
            for name, gradient, values in (
                ("weights", by_weights, model.weights),
                ("biases", by_biases, model.biases),
            ):
                moving[name] = config["momentum"] * moving[name] - np.float32(rate) * gradient
                values += moving[name]
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss:.4f}")
        if not np.isfinite(model.weights).all():
            raise training.Diverged(
                f"the loss is not finite at epoch {epoch}; try a smaller --learning-rate."
            )
        measured = {}
        for split, part in (("train", train_set), ("val", validation_set)):
            if part is not None:
                watched, truth = pixels(part.images[:WATCHED]), part.labels[:WATCHED]
                measured[f"{split}_loss"] = loss_and_gradient(model.weights, model.biases, watched, truth)[0]
                measured[f"{split}_accuracy"] = float(np.mean(model.predict(part.images[:WATCHED]) == truth))
        elapsed += time.perf_counter() - started
        arrays = {**model.arrays(), **{f"moving_{name}": array for name, array in moving.items()}}
        checkpoint.write(arrays, epoch, elapsed)
        run.log(epoch, {**measured, "learning_rate": float(rate), "seconds": elapsed})

    metrics: dict[str, Any] = {}
    if validation_set is not None:
        metrics = evaluate(validation_set.labels, model.probabilities(validation_set.images))
        metrics["loss"] = metrics["log_loss"]
    return model, {**metrics, "epochs": epochs, "train_seconds": elapsed}


def main(argv: list[str] | None = None) -> None:
    training.command("softmax", __doc__, OPTIONS, train, argv)


if __name__ == "__main__":
    commandline.run(main)
