"""The window's look, and the card that shows one classifier's answer."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import font as tkfont
from tkinter import ttk
from typing import Any, NamedTuple

import numpy as np

from classifier import best_guess

FONTS = ("Segoe UI Variable Text", "Segoe UI", "SF Pro Text", "Inter", "Noto Sans", "Cantarell", "Ubuntu")
LIGHT = {
    "window": "#fafafa",
    "card": "#fdfdfd",
    "off": "#f0f0f0",
    "paper": "#ffffff",
    "ink": "#1c1c1c",
    "muted": "#6a6a6a",
    "faint": "#b4b4b4",
    "line": "#e1e1e1",
    "track": "#eeeeee",
    "edge": "#9c9c9c",
    "soft": "#a9c8e6",
    "accent": "#005fb8",
}
DARK = {
    "window": "#1c1c1c",
    "card": "#242424",
    "off": "#2e2e2e",
    "paper": "#141414",
    "ink": "#f2f2f2",
    "muted": "#a6a6a6",
    "faint": "#6a6a6a",
    "line": "#3a3a3a",
    "track": "#333333",
    "edge": "#6e6e6e",
    "soft": "#35617a",
    "accent": "#57c8ff",
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
        self.colour = DARK if dark else LIGHT
        root.tk.call("tk", "scaling", self.scale * 96 / 72)
        self._root = root
        self._fonts: dict[tuple[int, str], tkfont.Font] = {}
        self._set_theme()
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

    def _set_theme(self) -> None:
        try:
            import sv_ttk

            sv_ttk.set_theme("dark" if self.dark else "light", self._root)
        except (ImportError, tk.TclError):  # take a plain theme, in the same colours
            style, colour = ttk.Style(self._root), self.colour
            style.theme_use("clam")
            style.configure(
                ".", background=colour["window"], foreground=colour["ink"], bordercolor=colour["line"]
            )
            style.configure("TButton", background=colour["card"], padding=self.px(5))
            style.configure("Accent.TButton", background=colour["accent"], foreground=colour["paper"])
            style.map("Accent.TButton", background=[("active", colour["ink"])])
            style.configure("TScale", background=colour["accent"], troughcolor=colour["track"])
            style.configure("Card.TFrame", relief="solid", borderwidth=1)

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


class Places(NamedTuple):
    """Where the parts of a card go, in pixels. The rows of bars are aligned across cards."""

    width: int
    pad: int  # at the left and right
    top: int  # below the title and the source
    middle: int  # of the digit
    size: int  # of the digit
    note: int  # middle of the note
    bars: int  # top of the first bar's row
    row: int  # height of a bar's row


class Card(tk.Canvas):
    """One classifier's answer: a large digit, ten bars and where the model came from; or why it has none.

    The attributes say what to show, and `draw` shows it. `state` is "loading", "ready" or "failed". `due` is
    True if an answer is overdue.
    """

    def __init__(self, parent: tk.Misc, look: Look, name: str, source: str, command: str) -> None:
        super().__init__(parent, highlightthickness=0, width=look.px(120), height=look.px(300))
        self.look, self.name, self.source, self.command = look, name, source, command
        self.state = "loading"
        self.reason = ""
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
        values = [
            "> 99" if p > 0.995 else f"{100 * p:.0f}" if p >= 0.005 else "" for p in probabilities.tolist()
        ]
        note = ("unsure, " if unsure else "") + percent(float(probabilities[digit]))
        self.show(str(digit), note, probabilities.tolist(), values, unsure=unsure)

    def show(
        self, digit: str, note: str, bars: Sequence[float], values: Sequence[str], *, unsure: bool = False
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
        self.delete("all")
        failed = self.state == "failed"
        self.configure(background=self.look.colour["off" if failed else "card"])
        places = self._places()
        self._draw_title(places)
        if failed:
            self._draw_failure(places)
        else:
            self._draw_digit(places)
            self._draw_bars(places)

    def _places(self) -> Places:
        px, width, height = self.look.px, self.winfo_width(), self.winfo_height()
        pad = px(16 if width > px(150) else 10)
        top = px(38) + px(2 * 17) + px(8)
        # The bars get the height that they need, the digit gets the rest.
        row = min(px(32), max(px(17), (height - top) * 6 // 100))
        bars = height - px(14) - 10 * row
        note_height = px(30)
        digit_height = bars - note_height - top
        size = max(px(24), min(px(170), int(digit_height * 0.92), int((width - 2 * pad) * 0.75)))
        middle, note = top + digit_height // 2, bars - note_height // 2 - px(3)
        return Places(width, pad, top, middle, size, note, bars, row)

    def _draw_title(self, places: Places) -> None:
        look, colour, pad = self.look, self.look.colour, places.pad
        title = colour["faint" if self.state == "failed" else "ink"]
        muted = colour["faint" if self.state == "failed" else "muted"]
        lines = [(look.px(12), self.name, look.font(18, "bold"), title)]
        for number, line in enumerate(self.source.splitlines()):
            lines.append((look.px(38) + number * look.px(17), line, look.font(12), muted))
        for top, line, font, fill in lines:
            text = _shortened(line, font, places.width - 2 * pad)
            self.create_text(pad, top, text=text, anchor="nw", font=font, fill=fill)

    def _draw_failure(self, places: Places) -> None:
        look, colour = self.look, self.look.colour
        lines = [(self.reason, look.font(13), colour["muted"], 12)]
        if self.command:
            lines.append(("To make it:", look.font(13), colour["muted"], 12))
            lines.append((self.command, look.font(13, "mono"), colour["ink"], 8))
        top, width = places.top, places.width - 2 * places.pad
        for text, font, fill, gap in lines:
            item = self.create_text(
                places.pad, top, text=text, anchor="nw", font=font, fill=fill, width=width
            )
            top = self.bbox(item)[3] + look.px(gap)

    def _draw_digit(self, places: Places) -> None:
        look, colour = self.look, self.look.colour
        across = places.width // 2
        if self.state == "loading" or (self.due and not self.digit):
            text = "loading …" if self.state == "loading" else "thinking …"
            self.create_text(across, places.middle, text=text, font=look.font(14), fill=colour["muted"])
            return
        if not self.digit:
            return
        font = look.font(places.size / look.scale)
        shown = colour["faint" if self.due else "muted" if self.unsure else "ink"]
        item = self.create_text(across, places.middle, text=self.digit, font=font, fill=shown)
        if self.unsure:
            right = self.bbox(item)[2]
            mark = look.font(places.size * 0.55 / look.scale)
            self.create_text(right, places.middle, text="?", anchor="w", font=mark, fill=colour["accent"])
        note = "thinking …" if self.due else self.note
        fill = colour["muted" if self.due or self.unsure else "ink"]
        width = places.width - 2 * places.pad
        self.create_text(
            across, places.note, text=note, width=width, font=look.font(14), fill=fill, justify="center"
        )

    def _draw_bars(self, places: Places) -> None:
        look, colour, pad = self.look, self.look.colour, places.pad
        px, small, bold = look.px, look.font(12), look.font(13, "bold")
        start = pad + px(20)
        end = max(start + px(10), places.width - pad - small.measure("> 99") - px(8))
        half = max(px(2), places.row // 5)
        for digit in range(10):
            y = places.bars + digit * places.row + places.row // 2
            chosen = str(digit) == self.digit and not self.due
            ink = colour["ink" if chosen else "muted"]
            self.create_text(pad, y, text=str(digit), anchor="w", font=bold if chosen else small, fill=ink)
            self.create_rectangle(start, y - half, end, y + half, width=0, fill=colour["track"])
            filled = start + round((end - start) * self.bars[digit])
            if filled > start:
                fill = colour["accent" if chosen and not self.unsure else "soft"]
                self.create_rectangle(start, y - half, filled, y + half, width=0, fill=fill)
            self.create_text(places.width - pad, y, text=self.values[digit], anchor="e", font=small, fill=ink)


def percent(probability: float) -> str:
    """Format a probability; never "100 %", since nothing is certain."""
    if probability > 0.999:
        return "> 99.9 %"
    return f"{100 * probability:.1f} %"


def _shortened(text: str, font: tkfont.Font, width: int) -> str:
    """Cut a text that is wider than `width` pixels."""
    if font.measure(text) <= width:
        return text
    while text and font.measure(text + "…") > width:
        text = text[:-1]
    return text + "…"
