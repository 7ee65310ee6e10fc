"""The window's look, and the card that shows one classifier's answer."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import font as tkfont
from tkinter import ttk
from typing import Any

from classifier import best_guess

import numpy as np
import sv_ttk

FONTS = ("Segoe UI Variable Text", "Segoe UI", "SF Pro Text", "Inter", "Noto Sans", "Cantarell", "Ubuntu")
COLOURS = {  # of the light and the dark window
    "window": ("#fafafa", "#1c1c1c"),
    "card": ("#fdfdfd", "#242424"),
    "off": ("#f0f0f0", "#2e2e2e"),
    "paper": ("#ffffff", "#141414"),
    "ink": ("#1c1c1c", "#f2f2f2"),
    "muted": ("#6a6a6a", "#a6a6a6"),
    "faint": ("#b4b4b4", "#6a6a6a"),
    "line": ("#e1e1e1", "#3a3a3a"),
    "track": ("#eeeeee", "#333333"),
    "edge": ("#9c9c9c", "#6e6e6e"),
    "soft": ("#a9c8e6", "#35617a"),
    "accent": ("#005fb8", "#57c8ff"),
}


class Look:
    """Colours, fonts and sizes, fitted to the screen that the window is on.

    Parameters
    ----------
    dark : light on dark.
    scale : how large everything is, 0.5 to 4; None takes it from the screen's resolution.
    """

    def __init__(self, root: tk.Tk, *, dark: bool, scale: float | None) -> None:
        # All sizes are given for 96 dots an inch; Tk knows the screen's resolution.
        found = max(1.0, round(root.winfo_fpixels("1i") / 96 * 4) / 4)
        self.scale = found if scale is None else min(4.0, max(0.5, scale))
        self.dark = dark
        self.colour = {name: both[dark] for name, both in COLOURS.items()}
        root.tk.call("tk", "scaling", self.scale * 96 / 72)
        self._root = root
        self._fonts: dict[tuple[int, str], tkfont.Font] = {}
        sv_ttk.set_theme("dark" if dark else "light", root)
        there = set(tkfont.families(root))
        default = str(tkfont.nametofont("TkDefaultFont", root).actual("family"))
        self._family = next((family for family in FONTS if family in there), default)
        self._mono = str(tkfont.nametofont("TkFixedFont", root).actual("family"))
        for name in tkfont.names(root):  # the theme gives its sizes in pixels, whatever the screen
            if name.startswith("SunValley"):
                font = tkfont.nametofont(name, root)
                font.configure(family=self._family, size=-self.px(abs(int(font.cget("size")))))
        ttk.Style(root).configure(".", font=self.font(14), background=self.colour["window"])
        root.configure(background=self.colour["window"])

    def px(self, length: float) -> int:
        """Convert a length at 96 dots an inch to the screen's pixels."""
        return round(length * self.scale)

    def font(self, size: float, kind: str = "normal") -> tkfont.Font:
        """Return a font, `size` pixels high at 96 dots an inch; `kind` is "normal", "bold" or "mono"."""
        key = self.px(size), kind
        if key not in self._fonts:
            family = self._mono if kind == "mono" else self._family
            weight: Any = "bold" if kind == "bold" else "normal"
            self._fonts[key] = tkfont.Font(self._root, family=family, size=-key[0], weight=weight)
        return self._fonts[key]


class Card(tk.Canvas):
    """One classifier's answer: a large digit, ten bars and where the model came from; or why it has none.

    The attributes say what to show, and `draw` shows it. `state` is "loading", "ready" or "failed". `due` is
    True if an answer is overdue.
    """

    def __init__(self, parent: tk.Misc, look: Look, name: str, source: str, command: str) -> None:
        super().__init__(parent, highlightthickness=0, width=look.px(120), height=look.px(300))
        self.look, self.name, self.source, self.command = look, name, source, command
        self.state, self.reason = "loading", ""
        self.bind("<Configure>", lambda event: self.draw())
        self.rest("", "", [0.0] * 10, [""] * 10)

    def rest(self, digit: str, note: str, bars: Sequence[float], values: Sequence[str]) -> None:
        """Set what to show while there is no answer, as in `show`, and show it."""
        self._rest = digit, note, bars, values
        self.blank()

    def blank(self) -> None:
        """Show no answer."""
        self.show(*self._rest)

    def answer(self, probabilities: np.ndarray | None, unsure_below: float | None) -> None:
        """Show ten probabilities, float32 (10,), or no answer if there are none."""
        if probabilities is None:
            return self.blank()
        digit, unsure = best_guess(probabilities, unsure_below)
        bars = probabilities.tolist()
        values = ["> 99" if bar > 0.995 else f"{100 * bar:.0f}" if bar >= 0.005 else "" for bar in bars]
        self.show(str(digit), ("unsure, " if unsure else "") + percent(bars[digit]), bars, values, unsure)

    def show(
        self, digit: str, note: str, bars: Sequence[float], values: Sequence[str], unsure: bool = False
    ) -> None:
        """Show a digit, a note below it, and ten bars (0 to 1) with a text at the end of each."""
        self.digit, self.note, self.bars, self.values, self.unsure = digit, note, bars, values, unsure
        self.due = False
        self.draw()

    def fail(self, why: str) -> None:
        """Grey the card and say why."""
        self.state, self.reason = "failed", why
        self.blank()

    def draw(self) -> None:
        """Draw the whole card: some forty items, about a millisecond."""
        px, width, height = self.look.px, self.winfo_width(), self.winfo_height()
        failed = self.state == "failed"
        self.delete("all")
        self.configure(background=self.look.colour["off" if failed else "card"])
        pad = px(16 if width > px(150) else 10)
        top = px(38) + px(2 * 17) + px(8)  # below the title and the two lines of the source
        # The bars get the height that they need, the digit and its note get the rest.
        row = min(px(32), max(px(17), (height - top) * 6 // 100))
        bars = height - px(14) - 10 * row
        self._draw_title(pad, width - 2 * pad, failed)
        if failed:
            self._draw_failure(pad, top, width - 2 * pad)
        else:
            self._draw_digit(width // 2, top, bars, width - 2 * pad)
            self._draw_bars(pad, width - pad, bars, row)

    def _draw_title(self, left: int, width: int, failed: bool) -> None:
        look = self.look
        title = _shortened(self.name, look.font(18, "bold"), width)
        self._text(left, look.px(12), title, look.font(18, "bold"), "faint" if failed else "ink", anchor="nw")
        for number, line in enumerate(self.source.splitlines()):
            top, text = look.px(38) + number * look.px(17), _shortened(line, look.font(12), width)
            self._text(left, top, text, look.font(12), "faint" if failed else "muted", anchor="nw")

    def _draw_failure(self, left: int, top: int, width: int) -> None:
        look = self.look
        lines = [(self.reason, "normal", "muted")]
        if self.command:
            lines += [("To make it:", "normal", "muted"), (self.command, "mono", "ink")]
        for text, kind, colour in lines:
            item = self._text(left, top, text, look.font(13, kind), colour, anchor="nw", width=width)
            top = self.bbox(item)[3] + look.px(12)

    def _draw_digit(self, across: int, top: int, bars: int, width: int) -> None:
        look, px = self.look, self.look.px
        room = bars - px(30) - top  # the note takes the rest
        middle = top + room // 2
        if self.state == "loading" or (self.due and not self.digit):
            text = "loading …" if self.state == "loading" else "thinking …"
            self._text(across, middle, text, look.font(14), "muted")
        elif self.digit:
            high = max(px(24), min(px(170), int(room * 0.92), int(width * 0.75)))
            colour = "faint" if self.due else "muted" if self.unsure else "ink"
            item = self._text(across, middle, self.digit, look.font(high / look.scale), colour)
            if self.unsure:
                font = look.font(high * 0.55 / look.scale)
                self._text(self.bbox(item)[2], middle, "?", font, "accent", anchor="w")
            note = "thinking …" if self.due else self.note
            colour = "muted" if self.due or self.unsure else "ink"
            self._text(
                across, bars - px(15) - px(3), note, look.font(14), colour, width=width, justify="center"
            )

    def _draw_bars(self, left: int, right: int, top: int, row: int) -> None:
        look, px, small = self.look, self.look.px, self.look.font(12)
        start = left + px(20)
        end = max(start + px(10), right - small.measure("> 99") - px(8))
        half = max(px(2), row // 5)
        for digit in range(10):
            y = top + digit * row + row // 2
            chosen = str(digit) == self.digit and not self.due
            colour = "ink" if chosen else "muted"
            self._text(left, y, str(digit), look.font(13, "bold") if chosen else small, colour, anchor="w")
            filled = start + round((end - start) * self.bars[digit])
            fill = look.colour["accent" if chosen and not self.unsure else "soft"]
            self.create_rectangle(start, y - half, end, y + half, width=0, fill=look.colour["track"])
            if filled > start:
                self.create_rectangle(start, y - half, filled, y + half, width=0, fill=fill)
            self._text(right, y, self.values[digit], small, colour, anchor="e")

    def _text(self, x: int, y: int, text: str, font: tkfont.Font, colour: str, **options: Any) -> int:
        return self.create_text(x, y, text=text, font=font, fill=self.look.colour[colour], **options)


def percent(probability: float) -> str:
    """Format a probability; never "100 %", since nothing is certain."""
    if probability > 0.999:
        return "> 99.9 %"
    return f"{100 * probability:.1f} %"


def _shortened(text: str, font: tkfont.Font, width: int) -> str:
    """Cut a text that is wider than `width` pixels."""
    shown = text
    while text and font.measure(shown) > width:
        text = text[:-1]
        shown = text + "…"
    return shown
