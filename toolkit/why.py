"""What a classifier's explanation consists of, and covering parts of an image, which any classifier allows.

    texts = Texts("en", painting.TEXTS)
    for part in classifier.explain(image):    # uint8 (28, 28)
        print(part.say(texts), [picture.weight for picture in part.pictures])

Each model says in its own file what there is to show of it. `toolkit/why_panel.py` shows it in the window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from toolkit.report.texts import Texts

PATCH = 6  # side in pixels of the part that is covered, a pen's width and a half on each side of a stroke
STEP = 2  # pixels between two such parts


class Picture(NamedTuple):
    """A small picture.

    Attributes
    ----------
    values : float32 (h, w). In a signed part, above 0 for the answer and below 0 against it; else 0 is
        paper, and the largest value is ink.
    digit : the digit that it shows or leads to, if any.
    weight : how much it counts for the answer, below 0 against it, if that is known.
    """

    values: np.ndarray
    digit: int | None = None
    weight: float | None = None


class Part(NamedTuple):
    """One line for a student, and the pictures that it is about.

    Attributes
    ----------
    text : the key of a sentence in `toolkit/window/`, or else the line itself.
    signed : whether the pictures' values are for the answer and against it.
    values : of the words in braces in the sentence.
    """

    text: str
    pictures: list[Picture]
    signed: bool = False
    values: Mapping[str, object] = MappingProxyType({})

    def say(self, texts: Texts) -> str:
        """Return the line in the language of the window's texts."""
        return texts.say(self.text, **self.values) if self.text in texts.sentences else self.text


def cover(image: np.ndarray, digit: int, ask: Callable[[np.ndarray], np.ndarray]) -> list[Part]:
    """Show how a digit's probability falls where parts of the drawing are covered.

    Parameters
    ----------
    image : uint8 (28, 28).
    digit : the answer to explain.
    ask : a classifier's `predict_proba`; asked once, about all covered images.

    Returns
    -------
    A signed part, whose picture has at each pixel the mean fall over the patches that cover it, and the
    drawing with its most important patch covered. The second one's weight is the fall, and its digit what is
    read then (occlusion: M. Zeiler, R. Fergus: Visualizing and understanding convolutional networks, 2014).
    """
    places = [(y, x) for y in range(0, 29 - PATCH, STEP) for x in range(0, 29 - PATCH, STEP)]
    places = [(y, x) for y, x in places if image[y : y + PATCH, x : x + PATCH].any()]
    if not places:
        return []
    covered = np.repeat(image[None], len(places) + 1, axis=0)  # the last one stays as it is
    for one, (y, x) in zip(covered, places, strict=False):
        one[y : y + PATCH, x : x + PATCH] = 0
    probabilities = ask(covered)
    falls = probabilities[-1, digit] - probabilities[:-1, digit]
    total, count = np.zeros((28, 28), np.float32), np.zeros((28, 28), np.float32)
    for fall, (y, x) in zip(falls, places, strict=True):
        total[y : y + PATCH, x : x + PATCH] += fall
        count[y : y + PATCH, x : x + PATCH] += 1
    worst = int(falls.argmax())
    without = Picture(
        covered[worst].astype(np.float32) / 255, int(probabilities[worst].argmax()), float(falls[worst])
    )
    return [
        Part("why_covered", [Picture(total / np.maximum(count, 1), digit)], signed=True),
        Part("why_without", [without]),
    ]
