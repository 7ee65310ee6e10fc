"""Say whether an image is a digit at all, for all classifiers alike.

    from detector import Detector
    detector = Detector.load("models/detector.safetensors")
    detector.is_digit(image)     # uint8 (28, 28) -> False for a scribble

It is a small network that learned the ten digits, and that things which `toolkit/nondigits.py` makes are none
of them. `train_detector.py` trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ann
from classifier import check_images, option

import numpy as np


@dataclass(frozen=True)
class Config(ann.Config):
    """What the network looks like: as the ANN, and smaller."""

    conv_channels: tuple[int, ...] = option(
        (16, 32, 48), "channels of each convolutional stage", low=1, high=ann.LARGEST, most=4
    )
    convs_per_stage: int = option(1, "convolutions in each stage", low=1, high=8)


class Detector(ann.ANN):
    """A network whose ten logits compete with an eleventh, always 0: "no digit".

    As a classifier it says which digit an image would be if it were one.
    """

    kind = "detector"
    name = "Detector"
    Config = Config

    def is_digit(self, image: np.ndarray) -> bool:
        """Say whether an image, uint8 (28, 28), 0 paper, 255 ink, is a digit."""
        return bool(self.digit_probability(image) >= 0.5)

    def digit_probability(self, images: np.ndarray) -> np.ndarray:
        """Return how likely images are digits, at least 0.5 for those that count as digits.

        Takes uint8 (n, 28, 28), or (28, 28) for one image; returns float32 (n,), or a number. Raises
        ValueError as `predict_proba` does.
        """
        batch, single = check_images(images)
        from scipy.special import expit

        probability = expit(evidence(self.scores(batch)))
        # Damaged weights can overflow. Then nothing is known, and the classifiers' answers stand.
        probability = np.nan_to_num(probability, nan=1.0)
        return probability[0] if single else probability

    def flagged(self, images: np.ndarray) -> float:
        """Return the share of images, uint8 (n, 28, 28), that count as no digit."""
        return float((self.digit_probability(images) < 0.5).mean())

    def calibrate(self, digits: Sequence[np.ndarray], flagged: float) -> None:
        """Let at most a share of each set of digits, uint8 (n, 28, 28), count as none.

        Moves the ten logits alike, so that the threshold is a probability of 0.5.
        """
        import torch

        scores = [evidence(self.scores(images)) for images in digits]
        threshold = min(np.sort(score)[int(flagged * len(score))] for score in scores)
        with torch.no_grad():
            self.network[-1].get_parameter("bias").sub_(float(threshold))


def evidence(logits: np.ndarray) -> np.ndarray:
    """Return the logit of "is a digit", float (n,), of the ten digits' logits, float (n, 10)."""
    from scipy.special import logsumexp

    return logsumexp(logits, axis=1)
