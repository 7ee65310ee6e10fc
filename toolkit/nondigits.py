"""Make drawings that are no digits: scribbles, several digits, halves, letters, noise, bars and the like.

They are strokes, or pictures, made from recorded drawings and random numbers. A detector is trained on some
kinds. The others, marked `unseen`, only test it: people draw what nobody thought of.

To add a kind, write a function `make(recorded, rng)` and give it an entry in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit import handwriting
from toolkit.drawings import Drawings
from toolkit.framing import SIDE, frame_picture, frame_strokes, interpolated, travelled

import numpy as np

Strokes = list[np.ndarray]  # (k, 2) each: x to the right, y downwards
Recorded = Sequence[Sequence[Strokes]]  # for each of the ten digits its drawings

# Halves of digits that are none themselves: the lower half of a 9 is often a 1, those of an 8 are 0s,
# and the left half of a 2 with a long foot is a 2.
HALVES = ("0 above", "2 below", "2 right", "3 left", "5 above", "6 right", "9 left")
UNSEEN_HALVES = ("0 below", "3 below", "5 below", "5 right", "7 left", "8 left")
# A mirrored 2 is a 5, and a turned 0 is a 0.
TURNED, MIRRORED, UPSIDE_DOWN = (2, 3, 4, 5, 7, 8), (3, 4, 6, 7, 9), (4, 6, 7)

# Letters that resemble no digit, as polylines in a box of 2 x 3.
LETTERS = {
    "A": "0,3 1,0 2,3; .4,2 1.6,2",
    "E": "2,0 0,0 0,3 2,3; 0,1.5 1.6,1.5",
    "H": "0,0 0,3; 2,0 2,3; 0,1.5 2,1.5",
    "K": "0,0 0,3; 2,0 .2,1.6 2,3",
    "M": "0,3 .2,0 1,2 1.8,0 2,3",
    "N": "0,3 0,0 2,3 2,0",
    "R": "0,3 0,0 1.4,.1 1.8,.8 1.4,1.5 0,1.6 2,3",
    "T": "0,0 2,0; 1,0 1,3",
    "a": "1.9,1.2 1.2,1 .4,1.4 .2,2.2 .6,2.9 1.3,2.8 1.8,1.9 1.9,1 1.9,2.6 2.3,3",
    "n": "0,1 0,3; 0,1.7 .6,1.1 1.3,1.1 1.7,1.7 1.8,3",
    "k": "0,0 0,3; 1.5,1.2 .1,2.1 1.6,3",
    "e": "0,2 1.8,1.8 1.6,1.1 .9,.9 .2,1.5 .2,2.5 .9,3 1.8,2.6",
    "f": "1.9,.4 1.4,0 .9,.4 .8,1.2 .8,3; 0,1.3 1.7,1.3",
    "x": "0,1 1.8,3; 1.8,1 0,3",
}
UNSEEN_LETTERS = {
    "F": "1.9,0 0,0 0,3; 0,1.4 1.5,1.4",
    "W": "0,0 .5,3 1,.8 1.5,3 2,0",
    "h": "0,0 0,3; 0,1.9 .6,1.3 1.3,1.3 1.7,1.9 1.8,3",
    "m": "0,1 0,3; 0,1.6 .5,1 .9,1.5 .9,3; .9,1.6 1.4,1 1.8,1.5 1.9,3",
    "w": "0,1 .4,2.8 .9,1.6 1.4,2.8 1.9,1",
    "Sigma": "2,0 0,0 1.2,1.5 0,3 2,3",
    "Psi": "0,0 .1,1.2 1,1.8 1.9,1.2 2,0; 1,0 1,3",
    "Zhe": "0,0 2,3; 2,0 0,3; 1,0 1,3",
}


def _choose(recorded: Recorded, rng: np.random.Generator, digits: Sequence[int]) -> Strokes:
    """Pick a drawing of one of some digits: its longer side is 1, its middle at (0, 0)."""
    drawings = recorded[digits[int(rng.integers(len(digits)))]]
    return handwriting.resized(drawings[int(rng.integers(len(drawings)))])


def _mapped(strokes: Strokes, matrix: Sequence[Sequence[float]]) -> Strokes:
    return [stroke @ np.asarray(matrix).T for stroke in strokes]


def _by_hand(strokes: Strokes, rng: np.random.Generator, *, tilt: float = 8) -> Strokes:
    """Draw straight lines as a hand does: trembling, in other proportions, tilted by a few degrees."""
    angle = np.radians(rng.normal(0, tilt))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = turn @ [[np.exp(rng.normal(0, 0.2)), rng.normal(0, 0.12)], [0, np.exp(rng.normal(0, 0.1))]]
    drawn = []
    for stroke in handwriting.resized(strokes):
        corners = stroke + rng.normal(0, 0.03, stroke.shape)
        distances = travelled(corners)
        points = interpolated(np.linspace(0, distances[-1], max(30, len(stroke))), distances, corners)
        drawn.append((points + _curve(rng, len(points), 3) * 0.03 * np.clip(distances[-1], 0.2, 1)) @ shape.T)
    return drawn


def _curve(rng: np.random.Generator, count: int, waves: int) -> np.ndarray:
    """Return points (count, 2) along a smooth random curve: a sum of a few waves, with deviation 1."""
    time = np.linspace(0, 1, count)[:, None, None]
    frequency = np.arange(1, waves + 1)[:, None]
    phase = rng.uniform(0, 2 * np.pi, (waves, 2))
    curve = (rng.normal(size=(waves, 2)) * np.cos(np.pi * frequency * time + phase)).sum(axis=1)
    return curve / np.sqrt(waves / 2)


# Scribbles


def tangle(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Scribble smoothly."""
    waves = int(rng.integers(6, 15))
    return [_curve(rng, 12 * waves, waves) * [rng.uniform(0.6, 1.4), 1]]


def hatching(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Go to and fro, as one fills an area."""
    count = int(rng.integers(5, 16))
    along, across = np.linspace(0, 1, count), np.arange(count) % 2 * rng.uniform(0.5, 1.5)
    points = np.stack([along, across], axis=1) + rng.normal(0, 0.06, (count, 2))
    return _by_hand([points], rng, tilt=90)


def corners(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw straight lines from one random place to the next."""
    return [rng.uniform(0, 1, (int(rng.integers(6, 12)), 2))]


def wandering(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Let the pen turn left and right at random for a long while."""
    from scipy.ndimage import gaussian_filter1d

    bend = gaussian_filter1d(rng.normal(0, 1, 200), 5)
    direction = np.cumsum(0.3 * bend / bend.std())
    return [np.cumsum(np.stack([np.cos(direction), np.sin(direction)], axis=1), axis=0)]


def spiral(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw a spiral of three to five turns."""
    angle = np.linspace(0, rng.uniform(3, 5) * 2 * np.pi, 120)
    radius = angle + rng.uniform(0, 3)
    points = np.stack([np.cos(angle), np.sin(angle) * rng.choice([-1, 1])], axis=1) * radius[:, None]
    return _by_hand([points[:: int(rng.integers(2, 4))]], rng, tilt=90)


def coil(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw a row of loops."""
    angle = np.linspace(0, rng.uniform(3, 6) * 2 * np.pi, 120)
    step = rng.uniform(0.2, 0.5)
    points = np.stack([np.cos(angle) + step * angle, np.sin(angle) * rng.uniform(1, 2)], axis=1)
    return _by_hand([points[::2]], rng, tilt=15)


# Several digits


def two_digits(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write two digits side by side."""
    return _beside(recorded, rng, 2)


def number(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write three or four digits side by side."""
    return _beside(recorded, rng, int(rng.integers(3, 5)))


def _beside(recorded: Recorded, rng: np.random.Generator, count: int) -> Strokes:
    strokes: Strokes = []
    right = 0.0
    for _ in range(count):
        digit = _choose(recorded, rng, range(10))
        size = rng.uniform(0.85, 1.15)
        left = size * min(stroke[:, 0].min() for stroke in digit)
        place = right - left + rng.uniform(0.08, 0.4), rng.normal(0, 0.07)
        strokes += [np.add(size * stroke, place) for stroke in digit]
        right = max(stroke[:, 0].max() for stroke in strokes)
    return strokes


def stacked(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write two digits, one below the other."""
    first, second = (_choose(recorded, rng, (0, 2, 3, 4, 5, 6, 7, 8, 9)) for _ in range(2))
    place = rng.normal(0, 0.1), rng.uniform(1.1, 1.3)
    return [*first, *(np.add(stroke, place) for stroke in second)]


def overlaid(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write one digit over another."""
    first, second = (_choose(recorded, rng, [digit]) for digit in rng.permutation(np.arange(2, 10))[:2])
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.4)
    place = distance * np.cos(angle), distance * np.sin(angle)
    return [*first, *(np.add(stroke, place) for stroke in second)]


# Parts of digits


def half(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Keep one half of a digit."""
    return _half(recorded, rng, HALVES)


def unseen_half(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Keep one half of another digit."""
    return _half(recorded, rng, UNSEEN_HALVES)


def _half(recorded: Recorded, rng: np.random.Generator, halves: Sequence[str]) -> Strokes:
    digit, side = halves[int(rng.integers(len(halves)))].split()
    strokes = _choose(recorded, rng, [int(digit)])
    direction = {"above": (0, -1), "below": (0, 1), "left": (-1, 0), "right": (1, 0)}[side]
    # In proportion to the digit: 0 is its middle and 0.5 its edge.
    spread = np.maximum(np.ptp(np.concatenate(strokes), axis=0), 1e-6)
    least = rng.uniform(-0.04, 0.04)
    parts: Strokes = []
    for stroke in strokes:
        kept = (stroke / spread) @ direction >= least
        pieces = np.split(stroke, np.flatnonzero(np.diff(kept)) + 1)
        parts += pieces[0 if kept[0] else 1 :: 2]
    return parts or strokes


# Signs that resemble no digit


def letter(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write a letter."""
    return _by_hand(_polylines(LETTERS[rng.choice(list(LETTERS))]), rng)


def unseen_letter(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write another letter."""
    return _by_hand(_polylines(UNSEEN_LETTERS[rng.choice(list(UNSEEN_LETTERS))]), rng)


def _polylines(text: str) -> Strokes:
    return [np.array([point.split(",") for point in line.split()], float) for line in text.split(";")]


def turned(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Turn a digit to the left or to the right."""
    strokes = _choose(recorded, rng, TURNED)
    return _mapped(strokes, [[0, 1], [-1, 0]] if rng.random() < 0.5 else [[0, -1], [1, 0]])


def mirrored(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Write a digit from right to left."""
    return _mapped(_choose(recorded, rng, MIRRORED), [[-1, 0], [0, 1]])


def upside_down(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Mirror a digit from top to bottom."""
    return _mapped(_choose(recorded, rng, UPSIDE_DOWN), [[1, 0], [0, -1]])


def star(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw a star of five points, or an asterisk."""
    angle = np.arange(6) * 4 * np.pi / 5 - np.pi / 2
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if rng.random() < 0.5:
        return _by_hand([points], rng)
    angle = np.arange(3) * np.pi / 3 + rng.uniform(0, np.pi)
    ends = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _by_hand([np.stack([-end, end]) for end in ends], rng)


def arrow(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw an arrow to the left or to the right."""
    head = rng.uniform(0.2, 0.5)
    shaft, tip = np.array([[0, 0], [1, 0]]), np.array([[1 - head, -head], [1, 0], [1 - head, head]])
    return _mapped(_by_hand([shaft, tip], rng), [[rng.choice([-1, 1]), 0], [0, 1]])


# Noise


def grain(recorded: Recorded, rng: np.random.Generator) -> np.ndarray:
    """Give each pixel of the image a random grey, or each square of pixels."""
    size = int(rng.choice([1, 1, 2, 4]))
    squares = rng.random((SIDE // size, SIDE // size)) ** rng.uniform(0.5, 6)
    return np.rint(np.kron(squares, np.ones((size, size))) * 255).astype(np.uint8)


def blots(recorded: Recorded, rng: np.random.Generator) -> np.ndarray:
    """Spill ink at random: the dark parts of blurred noise."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(rng.normal(size=(56, 56)), rng.uniform(1, 3))
    return np.where(smooth > np.quantile(smooth, rng.uniform(0.6, 0.9)), 255, 0).astype(np.uint8)


def specks(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Sprinkle dots and short dashes."""
    places = rng.uniform(0, 1, (int(rng.integers(6, 40)), 2))
    return [place + rng.normal(0, 0.04, (int(rng.integers(1, 3)), 2)) for place in places]


# Marks


def level_line(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw one line from left to right. An upright one is a 1."""
    return _by_hand([np.array([[0.0, 0], [1, 0]])], rng)


def dots(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Make one to five dots."""
    places = rng.uniform(0, 1, (int(rng.integers(1, 6)), 2))
    return [place[None] for place in places]


def bars(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw two or three lines side by side, upright or level."""
    count = int(rng.integers(2, 4))
    gap = rng.uniform(0.2, 0.6)
    lines = [np.array([[gap * i, 0], [gap * i, 1]]) + rng.normal(0, 0.05, (2, 2)) for i in range(count)]
    return _by_hand(lines if rng.random() < 0.5 else _mapped(lines, [[0, 1], [1, 0]]), rng)


def cross(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw a cross, upright or aslant."""
    middle = rng.uniform(0.35, 0.65, 2)
    lines = [np.array([[middle[0], 0], [middle[0], 1]]), np.array([[0, middle[1]], [1, middle[1]]])]
    return _by_hand(lines, rng, tilt=30)


def lattice(recorded: Recorded, rng: np.random.Generator) -> Strokes:
    """Draw the sign #."""
    lines = [np.array([[x, 0], [x, 1]]) for x in (0.33, 0.67)]
    return _by_hand(lines + _mapped(lines, [[0, 1], [1, 0]]), rng)


@dataclass(frozen=True)
class Kind:
    """A kind of non-digits.

    Attributes
    ----------
    make : called as `make(recorded, rng)`; returns strokes, or a picture, uint8 (height, width).
    group : what figures are given for.
    unseen : nothing is trained on it.
    """

    make: Callable[[Recorded, np.random.Generator], Strokes | np.ndarray]
    group: str
    unseen: bool = False


KINDS = {
    "tangle": Kind(tangle, "scribbles"),
    "hatching": Kind(hatching, "scribbles"),
    "corners": Kind(corners, "scribbles"),
    "wandering": Kind(wandering, "scribbles", unseen=True),
    "spiral": Kind(spiral, "scribbles", unseen=True),
    "coil": Kind(coil, "scribbles", unseen=True),
    "two digits": Kind(two_digits, "several digits"),
    "overlaid digits": Kind(overlaid, "several digits"),
    "stacked digits": Kind(stacked, "several digits"),
    "number": Kind(number, "several digits", unseen=True),
    "half": Kind(half, "halves of digits"),
    "unseen half": Kind(unseen_half, "halves of digits", unseen=True),
    "letter": Kind(letter, "letters and signs"),
    "turned digit": Kind(turned, "letters and signs"),
    "mirrored digit": Kind(mirrored, "letters and signs"),
    "unseen letter": Kind(unseen_letter, "letters and signs", unseen=True),
    "upside down": Kind(upside_down, "letters and signs", unseen=True),
    "star": Kind(star, "letters and signs", unseen=True),
    "arrow": Kind(arrow, "letters and signs", unseen=True),
    "grain": Kind(grain, "noise"),
    "specks": Kind(specks, "noise"),
    "blots": Kind(blots, "noise", unseen=True),
    "level line": Kind(level_line, "lines, dots, crosses"),
    "dots": Kind(dots, "lines, dots, crosses"),
    "bars": Kind(bars, "lines, dots, crosses"),
    "cross": Kind(cross, "lines, dots, crosses"),
    "lattice": Kind(lattice, "lines, dots, crosses", unseen=True),
}


def by_digit(drawings: Drawings) -> Recorded:
    """Sort the strokes of drawings by their labels."""
    return [
        [strokes for strokes, label in zip(drawings.strokes, drawings.labels, strict=True) if label == digit]
        for digit in range(10)
    ]


def images(
    kind: str, recorded: Recorded, count: int, rng: np.random.Generator, *, varied: bool = False
) -> np.ndarray:
    """Make non-digits of a kind, framed as classifiers see them, uint8 (count, 28, 28).

    With `varied` by several pens and hands, as `handwriting.variants` has digits.
    """
    return np.stack([_framed(KINDS[kind].make(recorded, rng), rng if varied else None) for _ in range(count)])


def _framed(drawn: Strokes | np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    if isinstance(drawn, np.ndarray):
        return drawn if drawn.shape == (SIDE, SIDE) else frame_picture(drawn)
    if rng is None:
        return frame_strokes(drawn)
    return frame_strokes(handwriting.vary(drawn, -1, rng), pen=rng.uniform(*handwriting.PENS))
