"""The paper in the window: a canvas that takes the pen and shows its ink."""

from __future__ import annotations

import time
import tkinter as tk
from collections.abc import Callable
from typing import Any

from toolkit.cards import Look
from toolkit.ink import Box, Ink
from toolkit.painting import BOX, Drawing

import numpy as np

FRAME = 1 / 90  # s between two frames of the ink: more than most screens show


class Throttle:
    """Calls a function soon, but not again before `interval` seconds have passed."""

    def __init__(self, root: tk.Misc, interval: float, call: Callable[[], object]) -> None:
        self._root, self._interval, self._call = root, interval, call
        self._pending: str | None = None
        self._last = 0.0

    def soon(self) -> None:
        """Call the function as soon as it may be called; many requests until then are one."""
        if self._pending is None:
            wait = self._last + self._interval - time.perf_counter()
            self._pending = self._root.after(max(0, round(wait * 1000)), self.now)

    def now(self) -> None:
        """Call the function at once; this answers all requests."""
        if self._pending is not None:
            self._root.after_cancel(self._pending)
        self._pending, self._last = None, time.perf_counter()
        self._call()


class Paper(tk.Canvas):
    """A square to draw on. An event of the pen only adds a point; the ink follows in frames.

    Parameters
    ----------
    moved : called when the pen has moved.
    changed : called when the pen was lifted (False), and when strokes were taken back (True).

    Attributes
    ----------
    drawing : what was drawn.
    ink : what the canvas shows of it.
    pen_width : of the next strokes, in units of the box.
    side : of the canvas, in pixels.
    """

    def __init__(
        self, parent: tk.Misc, look: Look, *, moved: Callable[[], object], changed: Callable[[bool], object]
    ) -> None:
        super().__init__(parent, cursor="pencil", **look.border)
        self.drawing = Drawing()
        self.pen_width = 28.0
        self.side = 2
        self.ink = Ink(1)
        self._look, self._moved, self._changed = look, moved, changed
        self._picture = tk.PhotoImage(master=self)
        self.create_image(0, 0, image=self._picture, anchor="nw")
        self._shades = look.shades("paper")
        self._ink_frame = Throttle(self.winfo_toplevel(), FRAME, self._draw_ink)
        self._redraw_frame = Throttle(self.winfo_toplevel(), FRAME, self._redraw)
        self.bind("<ButtonPress-1>", self._press)
        self.bind("<B1-Motion>", self._move)
        self.bind("<ButtonRelease-1>", self._lift)

    def add_hint(self, title: str, text: str) -> None:
        """Say what to do while nothing is drawn."""
        faint: dict[str, Any] = {"fill": self._look.colour["faint"], "tags": "hint", "justify": "center"}
        middle, px = self.side / 2, self._look.px
        self.create_text(middle, middle - px(14), text=title, font=self._look.font(22), **faint)
        self.create_text(middle, middle + px(28), text=text, font=self._look.font(12), **faint)

    def lift_pen(self) -> None:
        """Lift the pen, if it is down."""
        if self.drawing.lift():
            self._changed(False)
            self._show(self.ink.draw(self.drawing.strokes[-1], self.drawing.widths[-1]))

    def undo(self) -> None:
        """Take back the last stroke."""
        if self.drawing.undo():
            self._took_back()

    def clear(self) -> None:
        """Take back all strokes."""
        if self.drawing.clear():
            self._took_back()

    def resize(self, side: int) -> None:
        """Make the canvas larger or smaller, and what was drawn with it."""
        if side != self.side:
            self.configure(width=side - 2, height=side - 2)  # its border adds a pixel a side
            self.move("hint", (side - self.side) / 2, (side - self.side) / 2)
            self.side = side
            self._redraw_frame.soon()

    def _press(self, event: tk.Event) -> None:
        self.winfo_toplevel().focus_set()  # a button with the focus would take keys for itself
        self.lift_pen()  # the window may never have been told that the last stroke ended
        self.drawing.press(event.x * BOX / self.side, event.y * BOX / self.side, self.pen_width)
        self.itemconfigure("hint", state="hidden")
        self._ink_frame.now()
        self._moved()

    def _move(self, event: tk.Event) -> None:
        if self.drawing.move(event.x * BOX / self.side, event.y * BOX / self.side):
            self._ink_frame.soon()
            self._moved()

    def _lift(self, event: tk.Event) -> None:
        self._move(event)
        self.lift_pen()

    def _took_back(self) -> None:
        self._changed(True)
        self._redraw_frame.now()
        if not self.drawing.strokes:
            self.itemconfigure("hint", state="normal")

    def _draw_ink(self) -> None:
        """Draw what is new of the stroke under the pen."""
        if self.drawing.pen_down:
            self._show(self.ink.draw(self.drawing.strokes[-1], self.drawing.widths[-1], finished=False))

    def _redraw(self) -> None:
        """Draw all strokes again."""
        self.ink = Ink(self.side - 2, BOX / self.side)
        last = len(self.drawing.strokes) - 1
        for index, (stroke, width) in enumerate(zip(self.drawing.strokes, self.drawing.widths, strict=True)):
            self.ink.draw(stroke, width, finished=index < last or not self.drawing.pen_down)
        self._picture.configure(width=self.ink.side, height=self.ink.side)
        self._show((0, 0, self.ink.side, self.ink.side))

    def _show(self, box: Box | None) -> None:
        if box is not None:
            left, top, right, bottom = box
            put(self._picture, self._shades[self.ink.coverage[top:bottom, left:right]], left, top)


def put(picture: tk.PhotoImage, pixels: np.ndarray, left: int = 0, top: int = 0) -> None:
    """Paste greys, uint8 (height, width), or colours, (height, width, 3), into a picture, which may grow."""
    data = b"P%d %d %d 255\n" % (3 + pixels.ndim, *pixels.shape[1::-1]) + pixels.tobytes()
    picture.tk.call(picture, "put", data, "-format", "ppm", "-to", left, top)
