"""How sure a classifier may be: the temperature of its probabilities, and when its answer gets a "?"."""

from __future__ import annotations

import math

from classifier import Classifier

import numpy as np


def calibrate(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """Give a classifier the temperature that fits images it was not trained on; return it."""
    scores = classifier.scores(images)
    if scores is None:
        return 1.0
    temperature = fit_temperature(scores, labels)
    classifier.divide_scores(temperature)
    return temperature


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, above 0, by which scores are divided so that the log loss is the least.

    The softmax of scores, float (n, 10), are probabilities. Fit it on images that the classifier was not
    trained on (C. Guo and others: On calibration of modern neural networks, ICML 2017).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    scores, rows = scores.astype(np.float64), np.arange(len(labels))

    def log_loss(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, labels].mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(-6, 6), method="bounded").x))


def fit_threshold(
    probabilities: np.ndarray, labels: np.ndarray, *, precision: float = 0.99, at_most: float = 1.0
) -> float:
    """Return the probability below which a classifier counts as unsure: `unsure_below` in its metrics.

    It is the smallest threshold such that the share `precision` of the answers at or above it is right: as
    many answers as possible without a "?" at a bounded risk (Y. Geifman, R. El-Yaniv: Selective
    classification for deep neural networks, 2017). Fit it on data that nothing is reported on, best on
    recorded drawings, which are harder than MNIST.

    Parameters
    ----------
    probabilities : float (n, 10).
    labels : int (n,), 0 to 9.
    precision : 0 to 1.
    at_most : the largest share of the answers that may get a "?", 0 to 1. It comes before the precision: a
        "?" on every answer says nothing.

    Returns
    -------
    0 to 1.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    right = (probabilities.argmax(axis=1) == labels)[order]
    share = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Answers of equal probability lie on the same side of any threshold.
    ends = np.append(confidence[1:] < confidence[:-1], True) if len(right) else np.zeros(0, dtype=bool)
    good = np.flatnonzero(ends & (share >= precision))
    threshold = float(confidence[good[-1]]) if len(good) else 1.0
    # The least of the answers that must stay without a "?".
    kept = confidence[: math.ceil((1 - at_most) * len(confidence))]
    return min(threshold, float(kept[-1])) if len(kept) else threshold
