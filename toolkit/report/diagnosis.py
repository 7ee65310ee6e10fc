"""The diagnosis of a training from its curves: is it overfitting, too simple, or still improving?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# The report prints these limits.
MOST_GAP = 0.02  # between the accuracies of both splits
LOSS_RISE = 0.10  # of the validation loss above its minimum
STILL_FALLING = 0.10  # of the validation loss from one fifth of the epochs to the next
MOST_TRAIN_ERROR = 0.03  # share of the training split that is read wrong
FEWEST_EPOCHS = 3  # for the rules that look at the course of the loss


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, and the numbers that it rests on; None for what was not measured.

    Attributes
    ----------
    verdict : "overfitting", "still improving", "too simple" (underfitting), "good fit", or "unknown" without
        a measured validation split.
    why : the rule that applied: "rose", "fell", "gap", "error", "good" or "unknown".
    train_accuracy, val_accuracy : after the last epoch.
    gap : training accuracy minus validation accuracy.
    fell : how far the mean validation loss fell from the last fifth but one to the last (relative).
    rose : how far the validation loss has risen above its minimum (relative), if the training loss fell
        meanwhile; else 0.
    """

    verdict: str
    why: str
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    gap: float | None = None
    fell: float | None = None
    rose: float | None = None


def diagnose(epochs: Sequence[Mapping[str, float]]) -> Diagnosis:
    """Diagnose a training by fixed rules; the first that applies counts.

    Both splits are compared on clean images, without dropout and label smoothing. Label smoothing can make
    the clean loss of both rise together while accuracy improves; that is not overfitting.

    Parameters
    ----------
    epochs : as `tracking.read_epochs` returns them. One is enough for the rules on accuracy.
    """
    names = ("train_accuracy", "val_accuracy", "val_loss", "train_loss")
    known = [epoch for epoch in epochs if all(math.isfinite(epoch.get(name, math.nan)) for name in names)]
    if not known:
        return Diagnosis("unknown", "unknown")
    train, val = known[-1]["train_accuracy"], known[-1]["val_accuracy"]
    gap, error = train - val, 1 - train
    fell, rose = _course(known) if len(known) >= FEWEST_EPOCHS else (None, None)
    if (rose or 0) > LOSS_RISE:
        verdict = "overfitting", "rose"
    elif (fell or 0) > STILL_FALLING:
        verdict = "still improving", "fell"
    elif gap > max(MOST_GAP, error):
        verdict = "overfitting", "gap"
    elif error > MOST_TRAIN_ERROR:
        verdict = "too simple", "error"
    else:
        verdict = "good fit", "good"
    return Diagnosis(*verdict, train, val, gap, fell, rose)


def _course(epochs: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return `fell` and `rose` of a `Diagnosis`."""
    fifth = max(1, len(epochs) // 5)
    train, val = (np.array([epoch[f"{split}_loss"] for epoch in epochs]) for split in ("train", "val"))
    last, before, lowest = val[-fifth:].mean(), val[-2 * fifth : -fifth].mean(), int(val.argmin())
    fell = float(1 - last / before) if before > 0 else 0.0
    learned_on = train[-fifth:].mean() < train[lowest]
    rose = float(last / val[lowest] - 1) if learned_on and val[lowest] > 0 else 0.0
    return fell, rose
