"""The window's look, and the card that shows one classifier's answer."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from tkinter import font as tkfont
from tkinter import ttk
from typing import Any

from classifier import best_guess
from toolkit.report.texts import Texts

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
    # Colour-blind people can tell blue and orange apart (M. Okabe, K. Ito: Color universal design, 2008).
    "soft": ("#a3c9e0", "#2f5f7d"),
    "accent": ("#0072b2", "#56b4e9"),
    "doubt": ("#d55e00", "#e69f00"),
}


class Look:
    """Colours, fonts, sizes and words, fitted to the screen that the window is on.

    Parameters
    ----------
    dark : light on dark.
    scale : how large everything is, 0.5 to 4; None takes it from the screen's resolution.
    texts : the words.
    """

    def __init__(self, root: tk.Tk, texts: Texts, *, dark: bool, scale: float | None) -> None:
        # All sizes are given for 96 dots an inch; Tk knows the screen's resolution.
        # Many screens claim 96 dots whatever they have, and are still large.
        dots = root.winfo_fpixels("1i") / 96
        pixels = min(root.winfo_screenwidth() / 1920, root.winfo_screenheight() / 1080)
        found = max(1.0, round(dots * 4) / 4, int(pixels * 4) / 4)
        self.scale = found if scale is None else min(4.0, max(0.5, scale))
        self.dark, self.texts = dark, texts
        self.colour = {name: both[dark] for name, both in COLOURS.items()}
        self.border: dict[str, Any] = {
            "background": self.colour["paper"],
            "borderwidth": 0,
            "highlightthickness": 1,
            "highlightbackground": self.colour["line"],
        }
        root.tk.call("tk", "scaling", self.scale * 96 / 72)
        self._root = root
        self._fonts: dict[tuple[int, str], tkfont.Font] = {}
        self._shortened: dict[tuple[str, float, str, int], str] = {}
        sv_ttk.set_theme("dark" if dark else "light", root)
        there = set(tkfont.families(root))
        default = str(tkfont.nametofont("TkDefaultFont", root).actual("family"))
        self._family = next((family for family in FONTS if family in there), default)
        self._mono = str(tkfont.nametofont("TkFixedFont", root).actual("family"))
        for name in tkfont.names(root):  # the theme gives its sizes in pixels, whatever the screen
            if name.startswith("SunValley"):
                font = tkfont.nametofont(name, root)
                font.configure(family=self._family, size=-self.px(abs(int(font.cget("size")))))
        self._enlarge_theme()
        ttk.Style(root).configure(".", font=self.font(14), background=self.colour["window"])
        root.configure(background=self.colour["window"])

    def _enlarge_theme(self) -> None:
        """Fit to the screen what the theme draws with pictures, or with lengths in pixels."""
        padding = self.px(8), self.px(3), self.px(8), self.px(4)
        for style in ("TButton", "Accent.TButton"):
            ttk.Style(self._root).configure(style, padding=padding)
        if (times := round(self.scale)) < 2:
            return
        theme = f"::ttk::theme::sv_{'dark' if self.dark else 'light'}"
        for name in self._root.tk.splitlist(self._root.tk.call("array", "names", f"{theme}::I")):
            if name.startswith("slider-thumb"):
                picture = self._root.tk.call("set", f"{theme}::I({name})")
                small = tk.PhotoImage(master=self._root)
                self._root.tk.call(small, "copy", picture)
                self._root.tk.call(picture, "configure", "-width", 0, "-height", 0)
                self._root.tk.call(picture, "copy", small, "-zoom", times, "-shrink")

    def shades(self, paper: str) -> np.ndarray:
        """Return the grey of each coverage with ink, uint8 (256,), on a paper that is grey as the ink is."""
        light, dark = (int(self.colour[name][1:3], 16) for name in (paper, "ink"))
        return np.linspace(light, dark, 256).round().astype(np.uint8)

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

    def shortened(self, text: str, size: float, kind: str, width: int) -> str:
        """Cut a text that is wider than `width` pixels in a font."""
        key = text, size, kind, width
        if key not in self._shortened:
            font, shown = self.font(size, kind), text
            while text and font.measure(shown) > width:
                text = text[:-1]
                shown = text + "…"
            self._shortened[key] = shown
        return self._shortened[key]


class Card(tk.Canvas):
    """One classifier's answer: a large digit, ten bars, and how good its model is; or why it has none.

    The attributes say what to show, and `draw` shows it. `state` is "loading", "ready" or "failed". `due` is
    True if an answer is overdue. `tally` is a line below those about the model. The items of digit 3 are
    tagged `label3`, `track3`, `bar3` and `value3`.

    Parameters
    ----------
    source : where the model comes from, in one or two short lines.
    command : what to type to make the model; shown when the card has failed.
    """

    def __init__(self, parent: tk.Misc, look: Look, name: str, source: str, command: str) -> None:
        super().__init__(
            parent,
            highlightthickness=look.px(2),
            highlightbackground=look.colour["card"],
            highlightcolor=look.colour["accent"],
            width=look.px(110),
            height=look.px(300),
        )
        self.look, self.name, self.source, self.command = look, name, source, command
        self.state, self.reason = "loading", ""
        self.quality: list[str] = []
        self.tally = ""
        self._items: dict[str, tuple[int, tuple[object, ...]]] = {}  # name -> number and how it looks
        self._wanted: set[str] = set()
        self._menu: tk.Menu | None = None
        self._rows = range(0)  # of pixels, where the bars are
        self._over_bars = False
        self.bind("<Configure>", lambda event: self.draw())
        self.rest("", "", [0.0] * 10, [""] * 10)

    def offer(self, models: Sequence[str], choose: Callable[[int], object]) -> None:
        """Let the user choose one of several models, of which the first is in use."""
        colour = self.look.colour
        if self._menu is not None:
            self._menu.destroy()
        self._menu = tk.Menu(
            self,
            tearoff=False,
            font=self.look.font(13),
            background=colour["card"],
            foreground=colour["ink"],
            activebackground=colour["accent"],
            activeforeground=colour["paper"],
            selectcolor=colour["ink"],
        )
        chosen = tk.IntVar(self, 0)
        for number, label in enumerate(models):
            self._menu.add_radiobutton(
                label=label, variable=chosen, value=number, command=partial(choose, number)
            )
        self.configure(takefocus=True)
        for event in ("<Down>", "<space>"):
            self.bind(event, lambda event: self.open_menu())
        self.tag_bind("source0", "<ButtonPress-1>", lambda event: self.open_menu())
        self.tag_bind("source0", "<Enter>", lambda event: self.configure(cursor="hand2"))
        self.tag_bind("source0", "<Leave>", lambda event: self.configure(cursor=""))
        self.draw()

    def open_menu(self) -> None:
        """Open the menu of models, if there are several."""
        if self._menu is not None:
            px = self.look.px
            self._menu.tk_popup(self.winfo_rootx() + px(10), self.winfo_rooty() + px(56))

    def take_labels(self, label: Callable[[int], object]) -> None:
        """Call a function with the digit whose bar is clicked."""

        def clicked(event: tk.Event) -> None:
            if (digit := self._digit_at(event.y)) is not None:
                label(digit)

        def moved(event: tk.Event) -> None:
            over = self._digit_at(event.y) is not None
            if over != self._over_bars:
                self._over_bars = over
                self.configure(cursor="hand2" if over else "")

        self.bind("<ButtonPress-1>", clicked, add=True)
        self.bind("<Motion>", moved, add=True)

    def _digit_at(self, y: int) -> int | None:
        """Return the digit whose bar is at a height, if there are bars."""
        there = self.state == "ready" and y in self._rows
        return (y - self._rows.start) * 10 // len(self._rows) if there else None

    def rate(self, metrics: Mapping[str, Any]) -> None:
        """Show how good the model is: its accuracy on MNIST and on drawings, else on the validation split."""
        tested, self.quality = metrics.get("tested"), []
        shares = {f"on_{name}": share for name, share in tested.items()} if isinstance(tested, dict) else {}
        for key, share in (shares or {"on_validation": metrics.get("accuracy")}).items():
            if key in self.look.texts.sentences and isinstance(share, (int, float)):
                percent = self.look.texts.percent(share)
                self.quality.append(self.look.texts.say(key, percent=percent))

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
        note = percent(bars[digit], self.look.texts)
        if unsure:
            note = self.look.texts.say("unsure", percent=note)
        self.show(str(digit), note, bars, values, unsure)

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
        """Bring the card up to date. Tk only hears of what changed: answers come 30 times a second."""
        px, width, height = self.look.px, self.winfo_width(), self.winfo_height()
        if width == 1:  # not on the screen yet
            return
        failed = self.state == "failed"
        self._wanted.clear()
        self.configure(background=self.look.colour["off" if failed else "card"])
        pad = px(16 if width > px(150) else 8)
        # Below the title and three lines about the model, or four.
        top = px(38) + px((4 if self.tally else 3) * 17) + px(6)
        # The bars get the height that they need, the digit and its note get the rest.
        row = min(px(32), max(px(17), (height - top) * 6 // 100))
        bars = height - px(14) - 10 * row
        self._rows = range(bars, bars + 10 * row)
        self._draw_title(pad, width - 2 * pad, failed)
        if failed:
            self._draw_failure(pad, top, width - 2 * pad)
        else:
            self._draw_digit(width // 2, top, bars, width - 2 * pad)
            self._draw_bars(pad, width - pad, bars, row)
        for name in self._items.keys() - self._wanted:
            self.delete(self._items.pop(name)[0])

    def _draw_title(self, left: int, width: int, failed: bool) -> None:
        look = self.look
        title = look.shortened(self.name, 18, "bold", width)
        self._text(
            "title",
            left,
            look.px(12),
            title,
            look.font(18, "bold"),
            "faint" if failed else "ink",
            anchor="nw",
        )
        lines = self.source.splitlines()
        if self._menu is not None and lines:
            lines[0] += " ▾"
        for number, line in enumerate(filter(None, [*lines, *self.quality, self.tally])):
            linked = self._menu is not None and number == 0
            colour = "accent" if linked else "faint" if failed else "muted"
            top, text = look.px(38) + number * look.px(17), look.shortened(line, 12, "normal", width)
            self._text(f"source{number}", left, top, text, look.font(12), colour, anchor="nw")

    def _draw_failure(self, left: int, top: int, width: int) -> None:
        look = self.look
        lines = [(self.reason, "normal", "muted")]
        if self.command:
            lines += [(look.texts.say("remedy"), "normal", "muted"), (self.command, "mono", "ink")]
        for number, (text, kind, colour) in enumerate(lines):
            item = self._text(
                f"failure{number}", left, top, text, look.font(13, kind), colour, anchor="nw", width=width
            )
            top = self.bbox(item)[3] + look.px(12)

    def _draw_digit(self, across: int, top: int, bars: int, width: int) -> None:
        look, px, waits = self.look, self.look.px, self.state == "loading"
        if waits or (self.due and not self.digit):
            text = look.texts.say("loading" if waits else "thinking")
            self._text("waiting", across, (top + bars) // 2, text, look.font(14), "muted")
        elif self.digit:
            note = look.texts.say("thinking") if self.due else self.note
            colour = "muted" if self.due or self.unsure else "ink"
            shape: dict[str, Any] = {"width": width, "justify": "center", "anchor": "s"}
            item = self._text("note", across, bars - px(6), note, look.font(14), colour, **shape)
            # The note has as many lines as it needs; the digit gets the rest, as if there were two.
            room = min(self.bbox(item)[1], bars - px(40)) - top
            high = max(px(24), min(px(170), int(room * 0.92), int(width * 0.75)))
            colour = "faint" if self.due else "muted" if self.unsure else "ink"
            middle, font = top + room // 2, look.font(high / look.scale)
            item = self._text("digit", across, middle, self.digit, font, colour)
            if self.unsure:
                font = look.font(high * 0.55 / look.scale)
                self._text("unsure", self.bbox(item)[2], middle, "?", font, "doubt", anchor="w")

    def _draw_bars(self, left: int, right: int, top: int, row: int) -> None:
        look, px, small = self.look, self.look.px, self.look.font(12)
        start = left + px(20)
        end = max(start + px(10), right - small.measure("> 99") - px(8))
        half = max(px(2), row // 5)
        for digit in range(10):
            y = top + digit * row + row // 2
            chosen = str(digit) == self.digit and not self.due
            colour = "ink" if chosen else "muted"
            font = look.font(13, "bold") if chosen else small
            filled = start + round((end - start) * self.bars[digit])
            fill = "soft" if not chosen else "doubt" if self.unsure else "accent"
            self._text(f"label{digit}", left, y, str(digit), font, colour, anchor="w")
            self._bar(f"track{digit}", start, end, y, half, "track")
            if filled > start:  # a rectangle without width is drawn as a line
                self._bar(f"bar{digit}", start, filled, y, half, fill)
            self._text(f"value{digit}", right, y, self.values[digit], small, colour, anchor="e")

    def _bar(self, name: str, left: int, right: int, y: int, half: int, colour: str) -> None:
        self._put(
            "rectangle", name, (left, y - half, right, y + half), fill=self.look.colour[colour], width=0
        )

    def _text(
        self, name: str, x: int, y: int, text: str, font: tkfont.Font, colour: str, **options: Any
    ) -> int:
        fill = self.look.colour[colour]
        return self._put("text", name, (x, y), text=text, font=font, fill=fill, **options)

    def _put(self, kind: str, name: str, place: tuple[int, ...], **options: Any) -> int:
        """Make an item, or change it if it looks different; return its number."""
        self._wanted.add(name)
        item, before = self._items.get(name, (0, ()))
        looks = place, *options.values()
        if not item:
            item = (self.create_text if kind == "text" else self.create_rectangle)(
                *place, tags=name, **options
            )
        elif looks != before:
            self.coords(item, *place)
            self.itemconfigure(item, **options)
        self._items[name] = item, looks
        return item


def percent(probability: float, texts: Texts) -> str:
    """Write a probability; never "100 %", since nothing is certain."""
    return f"> {texts.percent(0.999, 1)}" if probability > 0.999 else texts.percent(probability, 1)
