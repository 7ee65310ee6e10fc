"""What the window says of a drawing as a whole: that it is no digit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Detector(Protocol):
    """What the window needs of a detector: how likely an image, uint8 (28, 28), is a digit."""

    def digit_probability(self, images: np.ndarray) -> Any: ...


class Judge:
    """A detector in the shape of a classifier, for a worker to ask.

    Its ten probabilities are equal, and add up to that of a digit. Without a detector it has no answer.
    """

    def __init__(self, detector: Detector | None) -> None:
        self.detector = detector
        self.metrics: dict[str, Any] = {}

    def predict_proba(self, images: np.ndarray) -> np.ndarray | None:
        if self.detector is None:
            return None
        return np.full(10, self.detector.digit_probability(images) / 10)


class Judgement:
    """Takes the place of a classifier's card, and has `say` say whether a drawing is a digit."""

    def __init__(self, say: Callable[[bool], None]) -> None:
        self.say = say
        self.state, self.due = "loading", False
        self.is_digit = True

    def answer(self, probabilities: np.ndarray | None, unsure_below: float | None) -> None:
        """Take a judge's probabilities, or None for no judgement."""
        self.is_digit = probabilities is None or bool(probabilities.sum() >= 0.5)
        self.draw()

    def blank(self) -> None:
        """Take back what was said: blank paper is nothing to judge."""
        self.answer(None, None)

    def fail(self, reason: str) -> None:
        """Say nothing: without a detector the classifiers' answers stand."""
        self.blank()

    def rate(self, metrics: dict[str, Any]) -> None:
        """Show nothing: it is no classifier to be compared."""

    def draw(self) -> None:
        """Say it again."""
        self.say(self.is_digit)
