"""Texts beside points of a plot, where they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where a text may stand: distances from its point, the nearest first, and directions, up right first.
DISTANCES = (3.0, 9.0, 16.0, 25.0, 36.0)  # printer's points
ANGLES = np.radians([45, 135, -45, -135, 90, 0, 180, -90, 20, 70, 110, 160, -20, -70, -110, -160])
FROM_HERE_A_LINE = 6.0  # joins text and point


def _along(axes: Axes, corners: np.ndarray) -> np.ndarray:
    """Return many points of a line, in pixels."""
    places = axes.transData.transform(corners)
    steps = np.linspace(0, len(places) - 1, 40 * len(places))
    return np.stack([np.interp(steps, np.arange(len(places)), column) for column in places.T], axis=1)


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[str, np.ndarray, str]],
    points: np.ndarray,
    lines: Sequence[np.ndarray] = (),
    size: float = 7.5,
) -> None:
    """Write texts beside their points. The figure's layout must be final.

    Parameters
    ----------
    labels : text, its point (2,) in data coordinates, and its colour.
    points, lines : what no text should cover, in data coordinates: (n, 2), and the corners (m, 2) of lines.
    size : of the letters, in printer's points.
    """
    figure: Any = axes.figure
    unit = figure.dpi / 72
    dots = np.concatenate([axes.transData.transform(points), *(_along(axes, line) for line in lines)])
    (left, bottom), (right, top) = axes.get_window_extent().get_points()
    taken: list[np.ndarray] = []  # left, bottom, right, top of the texts so far

    def cost(box: np.ndarray, distance: float) -> float:
        covered = ((dots >= box[:2] - unit) & (dots <= box[2:] + unit)).all(axis=1).sum()
        crossed = sum(bool((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all()) for other in taken)
        outside = box[0] < left or box[1] < bottom or box[2] > right or box[3] > top
        return float(3 * covered + 30 * crossed + 100 * outside + distance / 4)

    for text, point, colour in labels:
        probe = axes.text(0, 0, text, fontsize=size)
        half = np.array(probe.get_window_extent().size) / 2 + unit
        probe.remove()
        place = axes.transData.transform(point)
        best: tuple[float, np.ndarray, float] | None = None
        for distance in DISTANCES:
            for angle in ANGLES:
                way = np.array([np.cos(angle), np.sin(angle)])
                # The nearest edge or corner of the text, not its middle, is at the distance.
                middle = place + way * distance * unit + way / np.abs(way).max() * half
                box = np.concatenate([middle - half, middle + half])
                if best is None or cost(box, distance) < best[0]:
                    best = cost(box, distance), middle, distance
        assert best is not None
        _, middle, distance = best
        taken.append(np.concatenate([middle - half, middle + half]))
        line = {"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 1, "shrinkB": 2}
        axes.annotate(
            text,
            tuple(point),
            tuple((middle - place) / unit),
            textcoords="offset points",
            fontsize=size,
            color=colour,
            ha="center",
            va="center",
            arrowprops=line if distance > FROM_HERE_A_LINE else None,
        )
