"""The panel in the window that shows why each classifier answers as it does."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from tkinter import ttk
from typing import Any

from toolkit.cards import Card, Look, percent
from toolkit.help import Tip
from toolkit.paper import put
from toolkit.why import Part, Picture

import numpy as np

COLUMN = 216  # the least width of a column, at 96 dots an inch
LARGE, MOST, LEAST = 84, 56, 44  # sides of a picture: alone beside its text, and with others below it
UNDER = 0.2  # how much of the drawing's ink shines through under colours


class WhyPanel(ttk.Frame):
    """Lies over the cards while it is open, and shows each card's answer with its explanation.

    It follows the drawing: whenever the pen is up, the classifiers are asked again.

    Parameters
    ----------
    parent : a grid whose first cell holds the cards.
    ask : asks every classifier, and why.

    Attributes
    ----------
    is_open : whether it is shown.
    is_offered : whether there is a link that opens it.
    link : opens and closes it.
    canvas : shows the explanations.
    """

    def __init__(self, parent: tk.Misc, look: Look, ask: Callable[[], object]) -> None:
        super().__init__(parent)
        self.look, self.is_open, self.is_offered = look, False, False
        self._ask = ask
        self._parts: dict[Card, Sequence[Part]] = {}
        self._image = np.zeros((28, 28), np.uint8)
        self._pictures: list[tk.PhotoImage] = []  # Tk forgets those that Python does not hold
        self.link = ttk.Label(parent, text=look.texts.say("why"), cursor="hand2")
        self.link.configure(font=look.font(12, "bold"), foreground=look.colour["accent"])
        self.link.bind("<ButtonPress-1>", lambda event: self.toggle())
        Tip(self.link, look, f"{look.texts.say('key_why')} (W)")
        self.columnconfigure(0, weight=1)
        self.rowconfigure(0, weight=1)
        self.canvas = tk.Canvas(
            self, width=1, height=1, highlightthickness=0, background=look.colour["window"]
        )
        self.canvas.grid(row=0, column=0, sticky="nsew")
        bar = ttk.Scrollbar(self, command=self.canvas.yview)
        bar.grid(row=0, column=1, sticky="ns")
        self.canvas.configure(yscrollcommand=bar.set, yscrollincrement=look.px(24))
        self.canvas.bind("<Configure>", lambda event: self._draw())
        for event, units in {"<Button-4>": -2, "<Button-5>": 2}.items():  # the wheel on X11
            self.canvas.bind(event, partial(self._scroll, units))
        for event, units in {"<Prior>": -12, "<Next>": 12}.items():
            self.winfo_toplevel().bind(event, partial(self._scroll, units))
        self.canvas.bind("<MouseWheel>", lambda event: self._scroll(-2 if event.delta > 0 else 2, event))

    def add(self, card: Card) -> None:
        """Show a card's explanations from now on."""
        self._parts[card] = []

    def offer(self) -> None:
        """Show the link that opens the panel, above the cards."""
        self.is_offered = True
        self.link.place(relx=1, x=-self.look.px(4), y=-self.look.px(17), anchor="ne")

    def toggle(self) -> None:
        """Open or close the panel."""
        if self.close():
            return
        self.is_open = True
        self.grid(row=0, column=0, sticky="nsew")
        self.link.configure(text=f"{self.look.texts.say('why_close')} (Esc)")
        self.lift()
        self.canvas.yview_moveto(0)
        self._ask()

    def close(self) -> bool:
        """Close the panel. Return False if it was not open."""
        was_open, self.is_open = self.is_open, False
        if was_open:
            self.grid_remove()
            self.link.configure(text=self.look.texts.say("why"))
        return was_open

    def show(self, card: object, parts: Sequence[Part], image: np.ndarray) -> None:
        """Show why a card's classifier answers as it does to an image, uint8 (28, 28)."""
        if isinstance(card, Card):
            self._parts[card], self._image = parts, image
            if self.is_open:
                self._draw()

    def _scroll(self, units: int, event: tk.Event) -> None:
        if self.is_open and self.canvas.yview() != (0.0, 1.0):
            self.canvas.yview_scroll(units, "units")

    def _draw(self) -> None:
        """Draw everything again: a block for each card, in as many columns as fit."""
        canvas, px, width = self.canvas, self.look.px, self.canvas.winfo_width()
        if width == 1:  # not on the screen yet
            return
        canvas.delete("all")
        self._pictures.clear()
        shown = [(card, parts) for card, parts in self._parts.items() if parts and card.digit]
        if not shown:
            self._text(width // 2, px(120), self.look.texts.say("why_nothing"), width - px(40), anchor="n")
        gap, columns = px(8), max(1, min(len(shown), width // px(COLUMN)))
        step = (width + gap) // columns
        ends = [0] * columns
        for card, parts in shown:
            column = ends.index(min(ends))
            ends[column] = self._draw_block(card, parts, column * step, ends[column], step - gap) + gap
        canvas.configure(scrollregion=(0, 0, width, max(*ends, canvas.winfo_height())))

    def _draw_block(self, card: Card, parts: Sequence[Part], left: int, top: int, width: int) -> int:
        """Draw a card's explanation; return where it ends."""
        look, px = self.look, self.look.px
        pad = px(12)
        inner, y = width - 2 * pad, top + px(10)
        doubt = "?" if card.unsure else ""
        digit = f"{card.digit}{doubt}  {percent(card.bars[int(card.digit)], look.texts)}"
        self._text(left + width - pad, y + px(2), digit, 0, 14, anchor="ne", kind="bold", colour="ink")
        self._text(left + pad, y, card.name, 0, 16, kind="bold", colour="ink")
        y += px(30)
        for part in parts:
            alone = len(part.pictures) == 1
            beside = px(LARGE + 10) if alone else 0
            said = self._text(left + pad + beside, y, part.say(look.texts), inner - beside)
            below = y if alone else said + px(4)
            y = max(said, self._draw_pictures(part, left + pad, below, inner)) + px(10)
        frame = self.canvas.create_rectangle(
            left, top, left + width - 1, y, fill=look.colour["card"], outline=look.colour["line"]
        )
        self.canvas.tag_lower(frame)
        return y

    def _draw_pictures(self, part: Part, left: int, top: int, width: int) -> int:
        """Draw a part's pictures in rows of about the same length; return where the last one ends."""
        px, count, gap = self.look.px, len(part.pictures), self.look.px(6)
        rows = -(-count // max(1, (width + gap) // (px(LEAST) + gap)))
        in_row = -(-count // max(1, rows))
        side = px(LARGE) if count == 1 else min(px(MOST), max(3, (width + gap) // max(1, in_row) - gap))
        high = side + (px(18) if any(map(self._caption, part.pictures)) else gap)
        sheet = np.empty((rows * high, in_row * (side + gap), 3), np.uint8)
        sheet[:] = self._colour("card")
        for number, picture in enumerate(part.pictures):
            x, y = number % in_row * (side + gap), number // in_row * high
            sheet[y : y + side, x : x + side] = self._colour("line")
            across, down = (np.arange(side - 2) * length // (side - 2) for length in picture.values.T.shape)
            pixels = self._colours(picture.values, part.signed)[down[:, None], across]
            sheet[y + 1 : y + side - 1, x + 1 : x + side - 1] = pixels
            colour = "doubt" if (picture.weight or 0) < 0 else "accent"
            place = left + x + side // 2, top + y + side + px(1)
            self._text(*place, self._caption(picture), 0, 11, anchor="n", colour=colour)
        if part.pictures:  # one image: Tk takes long for each
            self._pictures.append(tk.PhotoImage(master=self))
            put(self._pictures[-1], sheet)
            item = self.canvas.create_image(left, top, image=self._pictures[-1], anchor="nw")
            self.canvas.tag_lower(item)
        return top + rows * high

    def _caption(self, picture: Picture) -> str:
        """Return a picture's digit and how much it counts, if that is known."""
        if picture.weight is None:
            return ""
        weight = self.look.texts.number(abs(picture.weight), 2)
        counts = f"{'−' if picture.weight < 0 else '+'}{weight}"
        return counts if picture.digit is None else f"{picture.digit}: {counts}"

    def _colours(self, values: np.ndarray, signed: bool) -> np.ndarray:
        """Return a picture's colours, uint8 (h, w, 3): ink on paper, or blue for and orange against."""
        paper, ink, above, below = (self._colour(name) for name in ("paper", "ink", "accent", "doubt"))
        share = values / max(float(np.abs(values).max(initial=0)), 1e-12)
        if not signed:
            return _mix(paper, ink, np.clip(share, 0, 1)).round().astype(np.uint8)
        if values.shape == self._image.shape:  # where on the drawing it is
            paper = _mix(paper, ink, UNDER * self._image / 255)
        mixed = _mix(paper, np.where(share[..., None] > 0, above, below), np.abs(share))
        return mixed.round().astype(np.uint8)

    def _colour(self, name: str) -> np.ndarray:
        """Return one of the window's colours, float (3,), 0 to 255."""
        return np.array([int(self.look.colour[name][start : start + 2], 16) for start in (1, 3, 5)], float)

    def _text(
        self, x: int, y: int, text: str, width: int, size: int = 12, *, kind: str = "normal", **options: Any
    ) -> int:
        """Write a text, wrapped at a width if that is not 0; return where it ends."""
        colour = self.look.colour[options.pop("colour", "muted")]
        options = {"anchor": "nw", "fill": colour, "font": self.look.font(size, kind), **options}
        item = self.canvas.create_text(x, y, text=text, width=width, **options)
        return self.canvas.bbox(item)[3] if text else y


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend colours, (3,) or (h, w, 3), by the second one's share, (h, w)."""
    return first + (second - first) * share[..., None]
