"""Train the support vector machine.

    python train_svm.py                      # trained/svm.safetensors, and a record in runs/
    python train_svm.py --augment            # with random variants of the images as further examples
    python train_svm.py --kernel poly --degree 2 --features deslanted --pca 60
    python train_svm.py --resume runs/DIR    # the same training again, from its start: it takes minutes
    python train_svm.py --from trained/svm.safetensors --drawings captured/corrections.npz    # learn these
    python train_svm.py --undo               # take that back

It reads 99.5 % of MNIST's test images, with and without --augment. With it (--copies 1) it reads
97.1 ± 0.3 % of digits drawn on a screen, and 94.8 % without (`experiments/augmentation.py`, 3 seeds,
95 % interval).
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import svm
from classifier import InputError, option
from toolkit import commandline, finetuning, training
from toolkit.training import WATCHED

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.datasets import ImageSet
    from toolkit.tracking import Run


@dataclass(frozen=True)
class Config(training.Augmented, svm.Config):
    """What the machine looks like, and what it is trained on."""

    copies: int = option(2, "variants of each image that --augment adds", low=1, high=20)
    jobs: int = option(-1, "threads; -1 for one per core", low=-1, high=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jobs == 0:
            raise InputError("wanted a number of jobs from 1, or -1 for one per core; got 0.")


def train(
    train_set: ImageSet, validation_set: ImageSet | None, config: Config, *, seed: int, run: Run
) -> tuple[svm.SVM, dict[str, Any]]:
    """Train a support vector machine. Arguments, results and errors are as in `train_ann.train`."""
    from toolkit.metrics import evaluate

    started = time.perf_counter()
    model = svm.SVM(**config.part(svm.Config).values())
    images, labels = train_set.images, train_set.labels
    if config.augment:
        added = [
            training.variants(images, [seed, copy], config.augment, config.augment_parts)
            for copy in range(config.copies)
        ]
        images, labels = np.concatenate([images, *added]), np.tile(labels, 1 + len(added))
    pairs = len(svm.PAIRS)
    model.fit(
        images, labels, jobs=config.jobs, progress=lambda pair: run.progress(pair, "pairs of classes", pairs)
    )
    metrics = training.validate(validation_set, model)
    on_train = evaluate(train_set.labels[:WATCHED], model.probabilities(train_set.images[:WATCHED]))
    return model, {
        **metrics,
        "train_loss": on_train["log_loss"],
        "train_accuracy": on_train["accuracy"],
        "support_vectors": len(model.support_vectors),
        "epochs": 1,
        "train_seconds": time.perf_counter() - started,
    }


def fine_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a model file."""
    old = svm.SVM.load(path)
    return {**old.trained_on.get("config", {}), **old.config.values()}


def finetune(job: training.Job[Config], old: svm.SVM) -> None:
    """Refit a machine with corrections, and let the result replace it if that harms nothing."""
    data = finetuning.load(job, old, with_sample=False)
    finetuning.replace(job, data, old, refined(old, data.train, job.config))


def refined(old: svm.SVM, train_set: ImageSet, config: Config) -> svm.SVM:
    """Return a machine that was fitted again on its support vectors and on further images."""
    return copy.deepcopy(old).refit(train_set.images, train_set.labels, jobs=config.jobs)


def main(argv: list[str] | None = None) -> None:
    job = training.parse("svm", __doc__, Config, argv, fine=fine_config)
    if job.undo:
        return print(finetuning.undo(job.output))
    if job.base:
        return finetune(job, svm.SVM.load(job.base))
    data = training.load(job)
    with training.start(job) as run:
        model, metrics = train(data.train, data.validation, job.config, seed=job.seed, run=run)
        training.save(job, data, run, model, metrics)


if __name__ == "__main__":
    commandline.run(main)
