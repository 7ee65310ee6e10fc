"""What a classifier's explanation consists of, and covering parts of an image, which any classifier allows.

    for part in classifier.explain(image):    # uint8 (28, 28)
        print(part.text, [picture.weight for picture in part.pictures])

Each model says in its own file what there is to show of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

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

    `text` never holds a number that was measured, so that it can be translated.
    """

    text: str
    pictures: list[Picture]
    signed: bool = False


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
        Part(
            "Cover the blue parts and the answer loses probability; cover the red ones and it gains some.",
            [Picture(total / np.maximum(count, 1), digit)],
            signed=True,
        ),
        Part("This is the drawing without its most important part, and what is read then.", [without]),
    ]
