"""The strokes that are drawn in the window, without the window."""

from __future__ import annotations

import numpy as np

from toolkit.framing import frame_strokes

BOX = 500  # strokes live in a box of this side, the unit of the recorded drawings


class Drawing:
    """What was drawn: strokes in a box of 500 x 500, x to the right, y downwards. It needs no screen.

    Attributes
    ----------
    strokes : for each stroke its points (x, y).
    widths : for each stroke the width of its pen.
    revision : grows with every change, so that an answer to an older drawing can be told.
    pen_down : whether the last stroke is still being drawn.
    """

    def __init__(self) -> None:
        self.strokes: list[list[tuple[float, float]]] = []
        self.widths: list[float] = []
        self.revision = 0
        self.pen_down = False

    def press(self, x: float, y: float, width: float) -> None:
        """Put the pen down: start a stroke."""
        self.strokes.append([_inside(x, y)])
        self.widths.append(width)
        self.revision += 1
        self.pen_down = True

    def move(self, x: float, y: float) -> bool:
        """Move the pen. Return False if that draws nothing."""
        point = _inside(x, y)
        if not self.pen_down or point == self.strokes[-1][-1]:
            return False
        self.strokes[-1].append(point)
        return True

    def lift(self) -> bool:
        """Lift the pen. Return False if it was up already."""
        was_down, self.pen_down = self.pen_down, False
        return was_down

    def undo(self) -> bool:
        """Take back the last stroke, finished or not. Return False if there is none."""
        self.pen_down = False
        if not self.strokes:
            return False
        self.strokes.pop()
        self.widths.pop()
        self.revision += 1
        return True

    def clear(self) -> bool:
        """Take back all strokes. Return False if there are none."""
        self.pen_down = False
        if not self.strokes:
            return False
        self.strokes, self.widths = [], []
        self.revision += 1
        return True

    def points(self) -> list[np.ndarray]:
        """Return the strokes, int16 (k, 2) each, rounded as they are saved."""
        return [np.rint(np.array(stroke)).astype(np.int16) for stroke in self.strokes]

    def image(self) -> np.ndarray:
        """Return what classifiers see: uint8 (28, 28), 0 paper, 255 ink."""
        return frame_strokes(self.points())


def _inside(x: float, y: float) -> tuple[float, float]:
    # A pen that leaves the box draws along its edge, so that classifiers see what the canvas shows.
    return min(max(x, 0.0), float(BOX)), min(max(y, 0.0), float(BOX))
