"""Vary recorded drawings as another hand would write them: on their strokes, before they become pixels.

A pen of another width, a slant, a wobble, a stroke that starts late or ends early; and ways to write a digit
that few of the recorded writers have: a slash through a 0, a flag or a foot on a 1, a 7 with or without its
bar. A new way is one function and one entry in `STYLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from toolkit.drawings import Drawings, framed
from toolkit.framing import frame_strokes, interpolated, travelled

import numpy as np

Lines = list[np.ndarray]  # strokes, float (k, 2) each; the longer side of their box is 1, its middle is 0, 0

PENS = 1.8, 3.2  # the pen's width in pixels of the image, as MNIST's writers had them
SLANT = 0.25  # horizontal shift for each vertical step
TURN = 9.0  # degrees
STRETCH = 0.2  # natural logarithm of width / height
WOBBLE = 0.015  # standard deviation, in lengths of the box
CUT = 0.06  # of a stroke's length, at each of its ends


class Style(NamedTuple):
    """A way to write `digit`, and the probability that a drawing of it is written so."""

    digit: int
    probability: float
    write: Callable[[Lines, np.random.Generator], Lines]


def slash(lines: Lines, rng: np.random.Generator) -> Lines:
    """Draw the stroke through a 0: from edge to edge, beyond them, or short and inside."""
    low, high = _box(lines)
    angle = rng.uniform(0.5, 1.2)
    along = np.array([np.cos(angle), -np.sin(angle)]) * np.hypot(*(high - low)) / 2
    return [*lines, np.array([-along * rng.uniform(0.3, 1.1), along * rng.uniform(0.3, 1.1)])]


def flag(lines: Lines, rng: np.random.Generator) -> Lines:
    """Draw the upstroke of a 1, from its top to the left."""
    top, bottom = _ends(lines)
    stem = bottom - top
    # From the stem to the left. A level flag would turn the 1 into a 7.
    upright = np.arctan2(-stem[0], stem[1])
    turn = rng.uniform(0.2, np.clip(1.2 - upright, 0.45, 1.2))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ stem
    return [*lines, np.array([top, top + turned * rng.uniform(0.2, 0.8)])]


def foot(lines: Lines, rng: np.random.Generator) -> Lines:
    """Draw the line that a 1 stands on."""
    bottom = _ends(lines)[1]
    tilt = rng.uniform(-0.05, 0.05)
    left, right = -rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.4)
    return [*lines, bottom + np.array([[left, -tilt], [right, tilt]])]


def bar(lines: Lines, rng: np.random.Generator) -> Lines:
    """Draw the bar through a 7 that is one stroke, or leave out the second stroke of one that has two."""
    if len(lines) > 1:
        wide, high = np.ptp(lines[0], axis=0)
        return lines[:1] if high > 0.7 and wide > 0.5 * high else lines  # a narrow one would look like a 1
    low, high = _box(lines)
    level = low[1] + (high - low)[1] * rng.uniform(0.4, 0.7)
    stem = lines[0][lines[0][:, 1] > low[1] + 0.3 * (high - low)[1]]
    middle = np.array([stem[np.abs(stem[:, 1] - level).argmin(), 0], level])
    half = np.array([rng.uniform(0.12, 0.3), rng.uniform(-0.1, 0.05)])
    return [*lines, np.array([middle - half, middle + half])]


STYLES = {
    "slash": Style(0, 0.15, slash),
    "flag": Style(1, 0.25, flag),
    "foot": Style(1, 0.15, foot),
    "bar": Style(7, 0.4, bar),
}


def vary(strokes: list[np.ndarray], digit: int, rng: np.random.Generator) -> Lines:
    """Return a drawing as another hand would write it.

    Parameters
    ----------
    strokes : (k, 2) each, in any unit: x to the right, y downwards.
    digit : what was drawn, 0 to 9.

    Returns
    -------
    Strokes, float (k, 2) each, in a box whose longer side is about 1.
    """
    lines = resized(strokes)
    for style in STYLES.values():
        if style.digit == digit and rng.random() < style.probability:
            lines = style.write(lines, rng)
    slant, turn = rng.uniform(-SLANT, SLANT), np.deg2rad(rng.uniform(-TURN, TURN))
    wider = np.exp(rng.uniform(-STRETCH, STRETCH) / 2)
    hand = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hand = hand @ np.array([[wider, -slant], [0, 1 / wider]])
    return [_wobble(_cut(line, rng), rng) @ hand.T for line in lines]


def variants(drawings: Drawings, rng: np.random.Generator) -> np.ndarray:
    """Return the framed image of one variant of each drawing, uint8 (n, 28, 28); a picture as it is."""

    def frame(number: int) -> np.ndarray:
        varied = vary(drawings.strokes[number], int(drawings.labels[number]), rng)
        return frame_strokes(varied, pen=rng.uniform(*PENS))

    return framed(drawings, frame)


def resized(strokes: list[np.ndarray]) -> Lines:
    """Move and resize a drawing so that the longer side of its box is 1, and its middle 0, 0."""
    low, high = _box(strokes)
    return [(np.asarray(line, float) - (low + high) / 2) / max(*(high - low), 1e-6) for line in strokes]


def _box(lines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper left and the lower right corner of all points."""
    points = np.concatenate(lines)
    return points.min(axis=0), points.max(axis=0)


def _ends(lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Return the uppermost and the lowest point."""
    points = np.concatenate(lines)
    return points[points[:, 1].argmin()], points[points[:, 1].argmax()]


def _cut(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let a stroke start late and end early; it keeps points at even distances."""
    distances = travelled(line)
    start, end = rng.uniform(0, CUT), 1 - rng.uniform(0, CUT)
    places = np.linspace(start, end, max(2, int(distances[-1] * 20))) * distances[-1]
    return interpolated(places, distances, line)


def _wobble(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bend a stroke smoothly: a few random waves along it."""
    place = np.linspace(0, np.pi, len(line))[:, None]
    waves = [np.cos(k * place + rng.uniform(0, 2 * np.pi, 2)) * rng.normal(size=2) for k in range(1, 5)]
    return line + WOBBLE * np.sum(waves, axis=0) / np.sqrt(2)
