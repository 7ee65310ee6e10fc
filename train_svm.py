"""Train the support vector machine.

python train_svm.py                      # trained/svm.safetensors, and a record in runs/
python train_svm.py --augment            # with random variants of the images as further examples
python train_svm.py --kernel poly --degree 2 --features deslanted --pca 60
python train_svm.py --resume runs/DIR    # go on after a kill or Ctrl-C, at the pair that it was at

99.5 % of MNIST's test images, with and without --augment; with it (--copies 1) 97.1 ± 0.3 instead of 94.8 %
of digits drawn on a screen (`experiments/augmentation.py`, 3 seeds, 95 % interval).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from toolkit import commandline, training

if TYPE_CHECKING:
    from svm import SVM
    from toolkit.datasets import ImageSet
    from toolkit.tracking import Run

OPTIONS: dict[str, tuple[Any, str]] = {
    "features": ("hog", "pixels, deslanted (pixels), hog (histograms of oriented gradients)"),
    "pca": (200, "principal components kept of the features; 0 keeps the features"),
    "kernel": ("rbf", "linear, poly, rbf, sigmoid"),
    "C": (5.0, "cost of a margin violation"),
    "gamma": (1.5, "of poly, rbf and sigmoid; 0 for 1 / (features x their variance)"),
    "degree": (3, "of poly"),
    "coef0": (0.0, "of poly and sigmoid"),
    "augment": (0.0, "strength of the augmentation, 0 off; alone it means 1"),
    "augment_parts": ("all", "its changes, with commas: translation,scale,... as in toolkit/augment.py"),
    "copies": (2, "variants of each image that --augment adds"),
    "half": (False, "round support vectors to half precision: a file of about half the size"),
    "jobs": (-1, "processes; -1 for one a core"),
}
CONFIG = {name: default for name, (default, _) in OPTIONS.items()}
MACHINE = ("features", "pca", "kernel", "C", "gamma", "degree", "coef0", "half")


def train(
    train_set: ImageSet, validation_set: ImageSet | None, *, seed: int, run: Run, **config: Any
) -> tuple[SVM, dict[str, Any]]:
    """Fit a support vector machine; arguments, results and errors as in `train_ann`.

    Each finished pair of classes is kept in the run's folder. Probabilities are calibrated on
    `validation_set`; without one, on a part of `train_set` with a machine that is fitted on another part.
    """
    import numpy as np

    from svm import PAIRS, SVM
    from toolkit.evaluation import evaluate

    config = training.complete(CONFIG, config)
    training.in_range(config, "augment", 0, 10)
    training.in_range(config, "copies", 1, 20)
    if config["jobs"] == 0 or config["jobs"] < -1:
        raise training.InputError(
            f"wanted a number of jobs from 1, or -1 for one a core; got {config['jobs']}."
        )
    arguments = {name: config[name] for name in MACHINE}
    model = SVM(**{**arguments, "gamma": config["gamma"] or None})
    started = time.perf_counter()
    images, labels = train_set.images, train_set.labels
    if config["augment"]:
        copies = range(config["copies"])
        added = [
            training.variants(
                train_set.images, train_set.labels, [seed, copy], config["augment"], config["augment_parts"]
            )
            for copy in copies
        ]
        images = np.concatenate([images, *added])
        labels = np.tile(labels, 1 + len(added))

    checkpoint = training.Checkpoint(run, config, seed)
    _, before, state = checkpoint.restore()
    fitted = {
        pair: (state[f"{pair}/support"], state[f"{pair}/dual"], float(state[f"{pair}/intercept"]))
        for pair in range(len(PAIRS))
        if f"{pair}/support" in state
    }
    bar = run.progress(range(len(PAIRS)), "pairs of classes")
    bar.update(len(fitted))
    kept = dict(state)

    def keep(pair: int, result: tuple[np.ndarray, np.ndarray, float]) -> None:
        kept.update(
            {
                f"{pair}/support": result[0],
                f"{pair}/dual": result[1],
                f"{pair}/intercept": np.array(result[2]),
            }
        )
        checkpoint.write(kept, len(kept) // 3, before + time.perf_counter() - started)
        bar.update(1)

    model.fit(images, labels, jobs=config["jobs"], fitted=fitted, on_pair=keep)
    bar.close()
    metrics: dict[str, Any] = {}
    if validation_set is None:
        # No image is left that was not fitted on: a machine of a third of them says how sure to be.
        part = np.arange(len(train_set)) % 3 == 0
        smaller = SVM(**model.config).fit(train_set.images[part], train_set.labels[part], jobs=config["jobs"])
        others = np.flatnonzero(~part)[:6_000]
        smaller.calibrate(train_set.images[others], train_set.labels[others])
        model.temperature = smaller.temperature
    else:
        model.calibrate(validation_set.images, validation_set.labels)
        metrics = evaluate(validation_set.labels, model.probabilities(validation_set.images))
        metrics["loss"] = metrics["log_loss"]
    fit_metrics = evaluate(train_set.labels[:6_000], model.probabilities(train_set.images[:6_000]))
    seconds = before + time.perf_counter() - started
    return model, {
        **metrics,
        "train_loss": fit_metrics["log_loss"],
        "train_accuracy": fit_metrics["accuracy"],
        "support_vectors": model.support_count,
        "epochs": 1,
        "train_seconds": seconds,
    }


def main(argv: list[str] | None = None) -> None:
    training.command("svm", __doc__, OPTIONS, train, argv)


if __name__ == "__main__":
    commandline.run(main)
