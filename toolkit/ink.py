"""Ink on paper: pen strokes as a smooth, anti-aliased image that grows as the pen moves.

    ink = Ink(600)
    box = ink.draw(points, 28, finished=False)    # only what is new, and which pixels changed

A stroke is a centripetal Catmull-Rom curve: it passes through its points and makes no loops (C. Yuksel and
others: On the parameterization of Catmull-Rom curves, 2009). A round pen follows it, and its edge fades over
one pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from toolkit.framing import pieces

import numpy as np

SPACING = 1.5  # pixels between two points of the curve: closer ones only show the grid of the screen
PIXELS = 40_000  # that are computed at once: what fits into a processor's cache
FLAT = 0.3  # pixels by which straight pieces may miss the curve

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; the last two are outside


class Ink:
    """The ink on square paper.

    Parameters
    ----------
    side : of the paper, in pixels.
    unit : the length of one pixel, in the unit of the strokes.

    Attributes
    ----------
    coverage : uint8 (side, side), 0 paper, 255 ink.
    """

    def __init__(self, side: int, unit: float = 1.0) -> None:
        self.side, self.unit = side, unit
        self.coverage = np.zeros((side, side), dtype=np.uint8)
        # The curve up to the pen still changes with the next point. All before it is settled.
        self._settled = self.coverage.copy()
        self._begin()

    def _begin(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._taken = self._spans = 0
        self._loose: Box = (0, 0, 0, 0)

    def draw(
        self, stroke: Sequence[tuple[float, float]], width: float, *, finished: bool = True
    ) -> Box | None:
        """Draw what is new of a stroke, which is the same one until it is finished.

        Parameters
        ----------
        stroke : all its points (x, y) so far, at least one.
        width : of the pen.
        finished : the pen is lifted; the next call starts another stroke.

        Returns
        -------
        The pixels that changed, or None if none did.
        """
        points, radius = self._points, max(0.5, width / self.unit / 2)
        spacing = max(SPACING, radius / 6)
        for x, y in stroke[self._taken :]:
            tip = x / self.unit, y / self.unit
            if not points or math.dist(points[-1], tip) >= spacing:
                points.append(tip)
        new, self._taken = self._taken < len(stroke), len(stroke)
        if not new and not finished:
            return None
        x, y = stroke[-1]
        tip = x / self.unit, y / self.unit
        whole = points if points[-1] == tip else [*points, tip]
        settled = len(whole) - 1 if finished else max(0, len(points) - 2)
        boxes = [self._loose, *_render(self._settled, _curve(whole, self._spans, settled), radius)]
        if finished and len(whole) == 1:
            boxes += _render(self._settled, [tip], radius)
        left, top, right, bottom = _around(boxes)
        self.coverage[top:bottom, left:right] = self._settled[top:bottom, left:right]
        self._spans, self._loose = settled, (0, 0, 0, 0)
        if finished:
            self._begin()
        else:
            loose = _curve(whole, settled, len(whole) - 1) or [tip]
            self._loose = _around(_render(self.coverage, loose, radius))
        return _around([(left, top, right, bottom), self._loose])


def _around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box around others, of which some may be empty."""
    full = [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
    if not full:
        return 0, 0, 0, 0
    left, top, right, bottom = zip(*full, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _curve(points: Sequence[tuple[float, float]], first: int, last: int) -> list[tuple[float, float]]:
    """Return the curve through points[first] to points[last] as a polyline; [] if it has no length."""
    line: list[tuple[float, float]] = []
    for span in range(first, last):
        start, end = points[span], points[span + 1]
        before = points[span - 1] if span else start
        after = points[span + 2] if span + 2 < len(points) else end
        control, other = _control(before, start, end), _control(after, end, start)
        # As many pieces as keep a cubic Bezier curve's pieces flat (G. Wang, 1984).
        bend = max(
            math.hypot(a[0] - 2 * b[0] + c[0], a[1] - 2 * b[1] + c[1])
            for a, b, c in ((start, control, other), (control, other, end))
        )
        pieces = max(1, math.ceil(math.sqrt(0.75 * bend / FLAT)))
        if not line:
            line.append(start)
        for piece in range(1, pieces + 1):
            t = piece / pieces
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            line.append(
                (
                    a * start[0] + b * control[0] + c * other[0] + d * end[0],
                    a * start[1] + b * control[1] + c * other[1] + d * end[1],
                )
            )
    return line


def _control(
    before: tuple[float, float], start: tuple[float, float], end: tuple[float, float]
) -> tuple[float, float]:
    """Return the Bezier control point at `start` of the span to `end`."""
    squared, other = math.dist(before, start), math.dist(start, end)
    if squared < 1e-9:
        return start
    d, e = math.sqrt(squared), math.sqrt(other)
    weight, below = 2 * squared + 3 * d * e + other, 3 * d * (d + e)
    return (
        (squared * end[0] - other * before[0] + weight * start[0]) / below,
        (squared * end[1] - other * before[1] + weight * start[1]) / below,
    )


def _render(paper: np.ndarray, line: Sequence[tuple[float, float]], radius: float) -> list[Box]:
    """Draw a polyline with a round pen on uint8 (side, side); return the pixels that its pieces touched."""
    if not line:
        return []
    points = np.array(line if len(line) > 1 else [*line, *line], dtype=np.float32)
    # Pieces no longer than the pen is wide lie in windows of the same size, which are computed together.
    starts, along = pieces(points[:-1], np.diff(points, axis=0), max(2 * radius, 4))
    reach, side = radius + 0.5, len(paper)
    corners = np.floor(np.minimum(starts, starts + along) - reach).astype(int)
    size = int(np.abs(along).max() + 2 * reach) + 2
    at_once = max(1, PIXELS // size**2)
    boxes = []
    for first in range(0, len(starts), at_once):
        part = slice(first, first + at_once)
        windows = _windows(starts[part] - corners[part], along[part], reach, size)
        for window, (left, top) in zip(windows, corners[part].tolist(), strict=True):
            box = max(0, left), max(0, top), min(side, left + size), min(side, top + size)
            if box[0] < box[2] and box[1] < box[3]:
                region = paper[box[1] : box[3], box[0] : box[2]]
                inside = window[box[1] - top : box[3] - top, box[0] - left : box[2] - left]
                np.maximum(region, inside, out=region)
                boxes.append(box)
    return boxes


def _windows(starts: np.ndarray, along: np.ndarray, reach: float, size: int) -> np.ndarray:
    """Return the coverage by k pieces, uint8 (k, size, size), of a pen whose ink reaches so far."""
    centres: np.ndarray = np.arange(size, dtype=np.float32) + 0.5
    x, y = centres - starts[:, :1], centres - starts[:, 1:]
    lengths = np.hypot(*along.T)[:, None]
    across, down = (along[:, [axis]] / np.maximum(lengths, 1e-6) for axis in (0, 1))
    across[lengths == 0] = 1  # a dot has any direction
    # Seen along the piece: how far each pixel lies before or behind it, and how far beside it.
    beyond = (x * across - lengths / 2)[:, None, :] + (y * down)[:, :, None]
    np.abs(beyond, out=beyond)
    beyond -= lengths[:, :, None] / 2
    np.maximum(beyond, 0, out=beyond)
    beyond *= beyond
    beside = (x * down)[:, None, :] - (y * across)[:, :, None]
    beside *= beside
    beside += beyond
    np.sqrt(beside, out=beside)
    np.subtract(reach, beside, out=beside)
    beside *= 255
    np.maximum(beside, 0, out=beside)  # np.clip takes several times as long
    np.minimum(beside, 255, out=beside)
    return beside.astype(np.uint8)
