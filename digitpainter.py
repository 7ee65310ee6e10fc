"""A window to draw a digit in, and to watch every registered classifier answer as the pen lifts.

    painter = Painter()
    painter.register("SVM", lambda: SVM.load(path), source=path, command="python train_svm.py")
    painter.run()

The strokes are the model, the canvas is a view of them. Each classifier is loaded and asked in a thread of
its own, so that the window opens at once and a slow classifier never makes the pen stutter; an answer to an
older drawing is dropped. The window knows no classifier by name. Tk is called from its own thread only.

From pen-up to the answers of three classifiers on the screen: see `bench/painter_latency.py`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import tkinter as tk
import traceback
from collections.abc import Callable, Sequence
from tkinter import font as tkfont
from tkinter import ttk
from typing import Any, NamedTuple

import numpy as np

from classifier import ROOT, Classifier, InputError, best_guess
from toolkit.framing import frame_strokes

BOX = 500  # strokes live in a box of this side, the unit of the recorded drawings
PEN_WIDTHS = (8, 28, 70)  # narrowest, first and widest pen, in units of the box
POLL = 5  # ms between two looks for answers while some are due
PATIENCE = 250  # ms after which an answer that is due is shown as due
TICK = 250  # ms between two chances for Ctrl-C on the terminal, which Tk itself does not notice

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


class Drawing:
    """What was drawn: strokes in a box of 500 x 500, x to the right, y downwards; no screen needed.

    Attributes
    ----------
    strokes : a list of points (x, y) for each stroke; the pen of stroke i was `widths[i]` wide.
    revision : grows with every change, so that an answer can be told from one to an older drawing.
    pen_down : whether the last stroke is still being drawn.
    """

    def __init__(self) -> None:
        self.strokes: list[list[tuple[float, float]]] = []
        self.widths: list[float] = []
        self.revision = 0
        self.pen_down = False

    def press(self, x: float, y: float, width: float) -> None:
        """The pen comes down."""
        self.strokes.append([_inside(x, y)])
        self.widths.append(width)
        self.revision += 1
        self.pen_down = True

    def move(self, x: float, y: float) -> bool:
        """The pen moves; False where that draws nothing."""
        point = _inside(x, y)
        if not self.pen_down or point == self.strokes[-1][-1]:
            return False
        self.strokes[-1].append(point)
        return True

    def lift(self) -> bool:
        """The pen lifts; False where it was up already."""
        was_down, self.pen_down = self.pen_down, False
        return was_down

    def undo(self) -> bool:
        """Take back the last stroke, finished or not; False where there is none."""
        self.pen_down = False
        if not self.strokes:
            return False
        self.strokes.pop()
        self.widths.pop()
        self.revision += 1
        return True

    def clear(self) -> bool:
        """Take back all strokes; False where there are none."""
        self.pen_down = False
        if not self.strokes:
            return False
        self.strokes, self.widths = [], []
        self.revision += 1
        return True

    def points(self) -> list[np.ndarray]:
        """The strokes, int16 (k, 2) each: rounded as they are saved, so that they give this image again."""
        return [np.rint(np.array(stroke)).astype(np.int16) for stroke in self.strokes]

    def image(self) -> np.ndarray:
        """What classifiers see: uint8 (28, 28), 0 paper, 255 ink."""
        return frame_strokes(self.points())


def _inside(x: float, y: float) -> tuple[float, float]:
    # A pen that leaves the box draws along its edge: what classifiers see is what the canvas shows.
    return min(max(x, 0.0), float(BOX)), min(max(y, 0.0), float(BOX))


def percent(probability: float) -> str:
    """A probability for a person: never "100 %" for what is not certain, nor "0 %" for what is possible."""
    if probability > 0.999:
        return "> 99.9 %"
    return f"{100 * probability:.1f} %"


class Answer(NamedTuple):
    """What a worker says: `revision` is None when the classifier was loaded (or could not be)."""

    worker: Worker
    revision: int | None
    probabilities: np.ndarray | None
    error: Exception | None


class Worker(threading.Thread):
    """The thread of one classifier: loads it, then answers the latest drawing that it was asked about."""

    def __init__(self, load: Callable[[], Classifier], answers: queue.SimpleQueue[Answer]) -> None:
        super().__init__(daemon=True)
        self.classifier: Classifier | None = None
        self._load = load
        self._answers = answers
        self._asked: queue.SimpleQueue[tuple[int, np.ndarray] | None] = queue.SimpleQueue()

    def ask(self, revision: int, image: np.ndarray) -> None:
        """Ask about the image, uint8 (28, 28), of a drawing; the answer comes through the queue."""
        self._asked.put((revision, image))

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._asked.put(None)

    def run(self) -> None:
        try:
            classifier = self._load()
            # The first answer of some libraries takes many times as long as the others.
            classifier.predict_proba(np.zeros((28, 28), dtype=np.uint8))
            _use_one_core()
        except Exception as error:  # whatever fails in one classifier, the others work
            self._answers.put(Answer(self, None, None, error))
            return
        self.classifier = classifier
        self._answers.put(Answer(self, None, None, None))
        while True:
            task = self._asked.get()
            while not self._asked.empty():  # only the latest drawing still matters
                task = self._asked.get()
            if task is None:
                return
            revision, image = task
            try:
                answer = Answer(self, revision, _checked(classifier.predict_proba(image)), None)
            except Exception as error:
                answer = Answer(self, revision, None, error)
            self._answers.put(answer)


def _use_one_core() -> None:
    """Keep the linear algebra of the present thread to one core: one image is too little work to share out.

    On 2 cores with other work on them, answers of three classifiers took up to 280 ms with, 17 ms without.
    """
    with contextlib.suppress(ImportError):  # it comes with scikit-learn
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)


def _checked(probabilities: np.ndarray | None) -> np.ndarray | None:
    """What a classifier answered; ValueError where a new classifier does not keep to the interface."""
    if probabilities is not None and (probabilities.shape != (10,) or not np.isfinite(probabilities).all()):
        raise ValueError(f"wanted 10 finite probabilities; got {probabilities}.")
    return probabilities


def reason(error: Exception) -> str:
    """Why a classifier does not work, as a sentence."""
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed."
    ours = isinstance(error, (InputError, OSError))
    text = str(error) if ours else f"{type(error).__name__}: {error}"
    text = text.replace(f"{ROOT}{os.sep}", "")
    return text[:1].upper() + text[1:300]


class Look:
    """Colours, fonts and sizes, made for the screen that the window is on."""

    def __init__(self, root: tk.Tk, *, dark: bool, scale: float | None) -> None:
        # Tk knows the screen's resolution; 96 dots an inch is what the sizes below are meant for.
        found = max(1.0, round(root.winfo_fpixels("1i") / 96 * 4) / 4)
        self.scale = found if scale is None else min(4.0, max(0.5, scale))
        self.colour = DARK if dark else LIGHT
        root.tk.call("tk", "scaling", self.scale * 96 / 72)
        style = ttk.Style(root)
        try:
            import sv_ttk

            sv_ttk.set_theme("dark" if dark else "light", root)
        except (ImportError, tk.TclError):  # a plain theme in the same colours
            style.theme_use("clam")
            window, ink, line = (self.colour[name] for name in ("window", "ink", "line"))
            style.configure(".", background=window, foreground=ink, bordercolor=line)
            style.configure("TButton", background=self.colour["card"], padding=self.px(5))
            accent, paper = self.colour["accent"], self.colour["paper"]
            style.configure("Accent.TButton", background=accent, foreground=paper)
            style.map("Accent.TButton", background=[("active", ink)])
            style.configure("TScale", background=accent, troughcolor=self.colour["track"])
            style.configure("Card.TFrame", relief="solid", borderwidth=1)
        there = set(tkfont.families(root))
        default = str(tkfont.nametofont("TkDefaultFont", root).actual("family"))
        self._family = next((family for family in FONTS if family in there), default)
        self._mono = str(tkfont.nametofont("TkFixedFont", root).actual("family"))
        for name in tkfont.names(root):  # the theme's own sizes are in pixels, whatever the screen
            if name.startswith("SunValley"):
                font = tkfont.nametofont(name, root)
                font.configure(family=self._family, size=-self.px(abs(int(font.cget("size")))))
        self._root = root
        self._fonts: dict[tuple[int, str], tkfont.Font] = {}
        style.configure(".", font=self.font(14), background=self.colour["window"])
        root.configure(background=self.colour["window"])

    def px(self, length: float) -> int:
        """A length meant for 96 dots an inch, in the screen's pixels."""
        return round(length * self.scale)

    def font(self, size: float, kind: str = "normal") -> tkfont.Font:
        """A font of so many pixels (at 96 dots an inch), "normal", "bold" or "mono"."""
        key = self.px(size), kind
        if key not in self._fonts:
            family = self._mono if kind == "mono" else self._family
            weight: Any = "bold" if kind == "bold" else "normal"
            self._fonts[key] = tkfont.Font(self._root, family=family, size=-key[0], weight=weight)
        return self._fonts[key]


class Card(tk.Canvas):
    """One classifier's answer: its digit large, ten bars, where it came from; or why it has none.

    The attributes say what to show, `draw` shows it. `state` is "loading", "ready" or "failed".
    """

    def __init__(self, parent: tk.Misc, look: Look, name: str, source: str, command: str) -> None:
        super().__init__(parent, highlightthickness=0, width=look.px(120), height=look.px(300))
        self.look, self.name, self.source, self.command = look, name, source, command
        self.state = "loading"
        self.reason = ""
        self.bind("<Configure>", lambda event: self.draw())
        self.rest("", "", [0.0] * 10, [""] * 10)

    def rest(self, digit: str, note: str, bars: Sequence[float], values: Sequence[str]) -> None:
        """What to show while there is no answer, as in `show`; shown at once."""
        self._rest = digit, note, bars, values
        self.blank()

    def blank(self) -> None:
        """Show no answer."""
        self.show(*self._rest)

    def answer(self, probabilities: np.ndarray | None, unsure_below: float | None) -> None:
        """Show ten probabilities, float32 (10,); None shows no answer."""
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
        """Show a digit, a note below it, and ten bars from 0 to 1 with a text behind each."""
        self.digit, self.note, self.bars, self.values, self.unsure = digit, note, bars, values, unsure
        self.due = False
        self.draw()

    def fail(self, why: str) -> None:
        """Grey the card and say why."""
        self.state, self.reason = "failed", why
        self.blank()

    def draw(self) -> None:
        """Draw the whole card: some forty items, about a millisecond."""
        look, colour = self.look, self.look.colour
        px, width, height = look.px, self.winfo_width(), self.winfo_height()
        self.delete("all")
        pad = px(16 if width > px(150) else 10)
        failed = self.state == "failed"
        self.configure(background=colour["off" if failed else "card"])
        title = colour["faint"] if failed else colour["ink"]
        large = look.font(18, "bold")
        name = _shortened(self.name, large, width - 2 * pad)
        self.create_text(pad, px(12), text=name, anchor="nw", font=large, fill=title)
        small = look.font(12)
        left = px(38)
        for line in self.source.splitlines():
            text = _shortened(line, small, width - 2 * pad)
            self.create_text(
                pad, left, text=text, anchor="nw", font=small, fill=title if failed else colour["muted"]
            )
            left += px(17)
        top = px(38) + px(2 * 17) + px(8)
        if failed:
            return self._draw_failure(pad, top, width - 2 * pad)
        # The bars get what they need, the digit the rest, so that the rows of all cards are aligned.
        row = min(px(32), max(px(17), (height - top) * 6 // 100))
        bars_top = height - px(14) - 10 * row
        note_height = px(30)
        digit_height = bars_top - note_height - top
        size = max(px(24), min(px(170), int(digit_height * 0.92), int((width - 2 * pad) * 0.75)))
        middle = top + digit_height // 2
        if self.state == "loading":
            self.create_text(width // 2, middle, text="loading …", font=look.font(14), fill=colour["muted"])
        elif self.digit:
            font = look.font(size / look.scale)
            shown = colour["faint"] if self.due else colour["muted"] if self.unsure else colour["ink"]
            item = self.create_text(width // 2, middle, text=self.digit, font=font, fill=shown)
            if self.unsure:
                right = self.bbox(item)[2]
                mark = look.font(size * 0.55 / look.scale)
                self.create_text(right, middle, text="?", anchor="w", font=mark, fill=colour["accent"])
            note = "thinking …" if self.due else self.note
            fill = colour["muted" if self.due or self.unsure else "ink"]
            note_style: dict[str, Any] = {"font": look.font(14), "fill": fill, "justify": "center"}
            y = bars_top - note_height // 2 - px(3)
            self.create_text(width // 2, y, text=note, width=width - 2 * pad, **note_style)
        elif self.due:
            self.create_text(width // 2, middle, text="thinking …", font=look.font(14), fill=colour["muted"])
        label = look.font(13, "bold")
        start, values_width = pad + px(20), small.measure("> 99") + px(8)
        end = max(start + px(10), width - pad - values_width)
        for digit in range(10):
            y, half = bars_top + digit * row + row // 2, max(px(2), row // 5)
            chosen = str(digit) == self.digit and not self.due
            ink = colour["ink"] if chosen else colour["muted"]
            self.create_text(pad, y, text=str(digit), anchor="w", font=label if chosen else small, fill=ink)
            self.create_rectangle(start, y - half, end, y + half, width=0, fill=colour["track"])
            filled = start + round((end - start) * self.bars[digit])
            if filled > start:
                fill = colour["accent" if chosen and not self.unsure else "soft"]
                self.create_rectangle(start, y - half, filled, y + half, width=0, fill=fill)
            self.create_text(width - pad, y, text=self.values[digit], anchor="e", font=small, fill=ink)

    def _draw_failure(self, pad: int, top: int, width: int) -> None:
        look, colour = self.look, self.look.colour
        lines = [(self.reason, look.font(13), colour["muted"])]
        if self.command:
            lines += [
                ("To make it:", look.font(13), colour["muted"]),
                (self.command, look.font(13, "mono"), colour["ink"]),
            ]
        for text, font, fill in lines:
            item = self.create_text(pad, top, text=text, anchor="nw", font=font, fill=fill, width=width)
            top = self.bbox(item)[3] + look.px(8 if font is not lines[0][1] else 12)


def _shortened(text: str, font: tkfont.Font, width: int) -> str:
    """The text, cut where it is wider than `width` pixels."""
    if font.measure(text) <= width:
        return text
    while text and font.measure(text + "…") > width:
        text = text[:-1]
    return text + "…"


class Painter:
    """The window: a canvas to draw on, and a card for each registered classifier.

    Parameters
    ----------
    title : of the window.
    dark : light ink on dark paper.
    scale : how large to draw everything, 0.5 to 4; by default what the screen's resolution asks for.

    Raises
    ------
    InputError : there is no display to open a window on.
    """

    def __init__(
        self, title: str = "Draw a digit", *, dark: bool = False, scale: float | None = None
    ) -> None:
        if sys.platform == "win32":  # else Windows draws the window small and blows it up, blurred
            import ctypes

            with contextlib.suppress(AttributeError, OSError):
                ctypes.windll.shcore.SetProcessDpiAwareness(1)
        try:
            self.root = tk.Tk(className="Digitpainter")
        except tk.TclError as error:
            raise InputError(f"There is no display to open a window on ({error}).") from None
        self.drawing = Drawing()
        self.image = self.drawing.image()  # what classifiers saw last
        self.pen_width: float = PEN_WIDTHS[1]
        self.workers: dict[Worker, Card] = {}
        self.waiting: set[Worker] = set()  # for an answer to the present drawing, or for being loaded
        self.when_answered: Callable[[], None] | None = None  # called when the last answer is on the screen
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._polling = False
        self._interrupted = False
        self._side = 1  # of the canvas, in pixels
        self._started = self._closed = False
        self.look = Look(self.root, dark=dark, scale=scale)
        self._build(title)
        self._bind()

    def register(
        self, name: str, load: Callable[[], Classifier], *, source: str = "", command: str = ""
    ) -> Card:
        """Show a classifier beside the others.

        Parameters
        ----------
        name : the card's title.
        load : makes the classifier; called in the classifier's thread, once the window is open.
        source : where the classifier comes from, one or two short lines.
        command : what to type to make its model file, shown where `load` fails.
        """
        frame = ttk.Frame(self.cards, style="Card.TFrame", padding=self.look.px(3))
        column = len(self.workers)
        frame.grid(row=0, column=column, sticky="nsew", padx=self.look.px(5))
        self.cards.columnconfigure(column, weight=1, uniform="card")
        card = Card(frame, self.look, name, source, command)
        card.pack(fill="both", expand=True)
        worker = Worker(load, self._answers)
        self.workers[worker] = card
        self.waiting.add(worker)
        narrowest = self.look.px(470 + 130 * len(self.workers))  # the tools, and what a card needs
        screen = self.root.winfo_screenwidth(), self.root.winfo_screenheight()
        self.root.minsize(min(narrowest, screen[0]), min(self.look.px(480), screen[1]))
        if self._started:
            worker.start()
            self._poll_soon()
        return card

    def run(self) -> None:
        """Show the window until it is closed; raises KeyboardInterrupt on Ctrl-C in the terminal."""
        self._tick()
        try:
            self.root.mainloop()
        finally:
            self.close()
        if self._interrupted:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Close the window; classifiers end after what they are doing."""
        if not self._closed:
            self._closed = True
            for worker in self.workers:
                worker.stop()
            for pending in self.root.tk.splitlist(self.root.tk.call("after", "info")):
                self.root.after_cancel(pending)
            self.root.destroy()

    def undo(self) -> None:
        """Take back the last stroke."""
        if self.drawing.undo():
            self.canvas.delete(f"stroke{len(self.drawing.strokes)}")
            self._ask()

    def clear(self) -> None:
        """Take back all strokes."""
        if self.drawing.clear():
            self.canvas.delete("line")
            self._ask()

    def lift(self) -> None:
        """The pen is up, whether or not its lifting was told: the classifiers are asked."""
        if self.drawing.lift():
            self._ask()
            self._draw_strokes(len(self.drawing.strokes) - 1)

    def set_pen_width(self, width: float | str) -> None:
        """The width of the strokes to come, in units of the box of 500."""
        self.pen_width = min(max(float(width), PEN_WIDTHS[0]), PEN_WIDTHS[2])
        if abs(float(self.slider.get()) - self.pen_width) > 1e-6:
            self.slider.set(self.pen_width)
        middle, radius = self.dot.winfo_reqwidth() / 2, self.pen_width * self._side / BOX / 2
        self.dot.coords("pen", middle - radius, middle - radius, middle + radius, middle + radius)

    # The widgets

    def _build(self, title: str) -> None:
        root, look, colour, px = self.root, self.look, self.look.colour, self.look.px
        root.title(title)
        width = min(px(1320), root.winfo_screenwidth() - px(40))
        height = min(px(720), root.winfo_screenheight() - px(72))
        root.geometry(f"{width}x{height}")
        root.columnconfigure(1, weight=1)
        root.rowconfigure(2, weight=1)

        border: dict[str, Any] = {"background": colour["paper"], "borderwidth": 0}
        border |= {"highlightthickness": 1, "highlightbackground": colour["line"]}
        self.canvas = tk.Canvas(root, cursor="pencil", **border)
        self.canvas.grid(row=0, column=0, padx=(px(18), 0), pady=(px(18), px(14)), sticky="w")
        faint: dict[str, Any] = {"fill": colour["faint"], "tags": "hint", "justify": "center"}
        self.canvas.create_text(0, px(-14), text="Draw a digit here", font=look.font(22), **faint)
        keys = "Ctrl+Z takes back a stroke, Esc all of them\nthe mouse wheel sets the pen's width"
        self.canvas.create_text(0, px(28), text=keys, font=look.font(12), **faint)
        self._middle = 0.0  # where the hint stands
        self.tools = ttk.Frame(root)
        self.tools.grid(row=1, column=0, padx=(px(18), 0), sticky="ew")
        self.tools.columnconfigure(2, weight=1)

        muted: dict[str, Any] = {"font": look.font(12), "foreground": colour["muted"]}
        ttk.Button(self.tools, text="Undo", width=7, command=self.undo).grid(row=0, column=0)
        ttk.Button(self.tools, text="Clear", width=7, command=self.clear).grid(row=0, column=1, padx=px(8))
        pen = ttk.Frame(self.tools)
        pen.grid(row=1, column=0, columnspan=2, sticky="ew", padx=(0, px(8)))
        pen.columnconfigure(1, weight=1)
        ttk.Label(pen, text="Pen", **muted).grid(row=0, column=0, padx=(0, px(8)))
        self.slider = ttk.Scale(pen, from_=PEN_WIDTHS[0], to=PEN_WIDTHS[2], command=self.set_pen_width)
        self.slider.grid(row=0, column=1, sticky="ew")
        size = px(56)
        self.dot = tk.Canvas(
            self.tools, width=size, height=size, background=colour["window"], highlightthickness=0
        )
        self.dot.create_oval(0, 0, 0, 0, width=0, fill=colour["ink"], tags="pen")
        self.dot.grid(row=0, column=2, rowspan=2, sticky="w")
        seen = ttk.Label(self.tools, text="what the\nclassifiers see", justify="right", **muted)
        seen.grid(row=0, column=3, rowspan=2, padx=px(10))
        self.picture = tk.PhotoImage(master=root)
        self._zoom = px(3)
        tk.Label(self.tools, image=self.picture, **border).grid(row=0, column=4, rowspan=2)

        self.side = ttk.Frame(root, padding=(px(13), px(18), px(13), px(18)))
        self.side.grid(row=0, column=1, rowspan=3, sticky="nsew")
        self.side.columnconfigure(0, weight=1)
        self.side.rowconfigure(0, weight=1)
        self.cards = ttk.Frame(self.side)
        self.cards.grid(row=0, column=0, sticky="nsew")
        self.cards.rowconfigure(0, weight=1)
        self._show_image()

    def _bind(self) -> None:
        root, canvas = self.root, self.canvas
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.report_callback_exception = self._report
        canvas.bind("<ButtonPress-1>", self._press)
        canvas.bind("<B1-Motion>", self._move)
        canvas.bind("<ButtonRelease-1>", self._lift)
        canvas.bind("<Map>", lambda event: root.after_idle(self._start))
        for wheel in ("<MouseWheel>", "<Button-4>", "<Button-5>"):  # the last two: a wheel on X11
            canvas.bind(wheel, self._wheel)
        for key in ("<Control-z>", "<Control-Z>", "<Command-z>"):
            with contextlib.suppress(tk.TclError):  # Command is a key of the Mac's only
                root.bind(key, lambda event: self.undo())
        root.bind("<Escape>", lambda event: self.clear())
        root.bind("<Configure>", lambda event: self._resize(event) if event.widget is root else None)

    # What events do

    def _press(self, event: tk.Event) -> None:
        self.lift()  # of a stroke whose end was never told, as when the window lost it
        self.drawing.press(event.x * BOX / self._side, event.y * BOX / self._side, self.pen_width)
        self.canvas.itemconfigure("hint", state="hidden")
        self._draw_line(self.drawing.strokes[-1])

    def _move(self, event: tk.Event) -> None:
        if self.drawing.move(event.x * BOX / self._side, event.y * BOX / self._side):
            self._draw_line(self.drawing.strokes[-1][-2:])

    def _lift(self, event: tk.Event) -> None:
        self._move(event)
        self.lift()

    def _wheel(self, event: tk.Event) -> None:
        self.set_pen_width(self.pen_width + (2 if event.num == 4 or event.delta > 0 else -2))

    def _resize(self, event: tk.Event) -> None:
        px = self.look.px
        below = self.tools.winfo_reqheight() + px(18 + 14 + 18)
        wanted = max(event.width * 46 // 100, self.tools.winfo_reqwidth())
        self._side = max(px(120), min(event.height - below, wanted))
        self.canvas.configure(width=self._side - 2, height=self._side - 2)  # its border adds a pixel a side
        self.canvas.move("hint", self._side / 2 - self._middle, self._side / 2 - self._middle)
        self._middle = self._side / 2
        self._draw_strokes()
        self.set_pen_width(self.pen_width)

    def _draw_strokes(self, first: int = 0) -> None:
        """Draw the strokes from `first` on anew, each in one piece."""
        for index in range(first, len(self.drawing.strokes)):
            self.canvas.delete(f"stroke{index}")
            self._draw_line(self.drawing.strokes[index], index)

    def _draw_line(self, points: Sequence[tuple[float, float]], index: int = -1) -> None:
        """Draw a part of a stroke; the last stroke's while the pen is down, in small pieces."""
        index %= len(self.drawing.strokes)
        factor = self._side / BOX
        ends = [length * factor for point in points for length in point]
        if len(points) == 1:  # a line needs two points; this one shows as a dot
            ends += [ends[0] + 0.1, ends[1]]
        width = self.drawing.widths[index] * factor
        style: dict[str, Any] = {
            "capstyle": "round",
            "joinstyle": "round",
            "tags": ("line", f"stroke{index}"),
        }
        self.canvas.create_line(*ends, width=width - 0.5, fill=self.look.colour["ink"], **style)
        # Tk's lines have ragged edges; a slightly wider one in a middle tone below all smooths them.
        edge = self.canvas.create_line(*ends, width=width + 1, fill=self.look.colour["edge"], **style)
        self.canvas.tag_lower(edge)

    def _show_image(self) -> None:
        # Paper and ink in the window's colours; the pixels are those that classifiers get.
        shown = self.image if self.look.colour is DARK else 255 - self.image
        large = shown.repeat(self._zoom, axis=0).repeat(self._zoom, axis=1)
        self.picture.configure(data=b"P5 %d %d 255\n" % large.shape[::-1] + large.tobytes(), format="ppm")

    # Asking, and taking answers

    def _start(self) -> None:
        """Load the classifiers, now that the window is open."""
        if self._started:
            return
        self._started = True
        # Python lets a thread that computes in Python run for 5 ms before another's turn: too long for a pen.
        sys.setswitchinterval(0.001)
        for worker in self.workers:
            worker.start()
        self._poll_soon()

    def _ask(self) -> None:
        """Show the present drawing's image and ask every classifier about it."""
        if not self.drawing.strokes:
            self.canvas.itemconfigure("hint", state="normal")
        self.image = self.drawing.image()
        for worker in self.workers:
            self._ask_one(worker)
        self._show_image()
        revision = self.drawing.revision
        self.root.after(PATIENCE, lambda: self._show_due(revision))
        self._poll_soon()

    def _ask_one(self, worker: Worker) -> None:
        if worker.classifier is None:  # it is asked when it is loaded
            return
        self.workers[worker].state = "ready"
        if self.image.any():
            self.waiting.add(worker)
            worker.ask(self.drawing.revision, self.image)
        else:  # blank paper is no digit: nobody is asked
            self.waiting.discard(worker)
            self.workers[worker].blank()

    def _show_due(self, revision: int) -> None:
        if revision == self.drawing.revision:
            for worker in self.waiting:
                self.workers[worker].due = True
                self.workers[worker].draw()

    def _poll_soon(self) -> None:
        if self.waiting and self._started and not self._polling:
            self._polling = True
            self.root.after(POLL, self._poll)

    def _poll(self) -> None:
        self._polling = False
        while not self._answers.empty():
            self._take(self._answers.get())
        self._poll_soon()
        if not self.waiting and self.when_answered is not None:
            self.root.update_idletasks()
            self.when_answered()

    def _take(self, answer: Answer) -> None:
        worker, card = answer.worker, self.workers[answer.worker]
        if answer.revision is None:
            self.waiting.discard(worker)
            if answer.error is not None:
                card.fail(reason(answer.error))
                return
            card.state = "ready"
            card.draw()
            if not self.drawing.pen_down:
                self._ask_one(worker)
        elif answer.revision == self.drawing.revision:
            self.waiting.discard(worker)
            if answer.error is not None:
                card.fail(reason(answer.error))
            else:
                assert worker.classifier is not None
                card.answer(answer.probabilities, worker.classifier.metrics.get("unsure_below"))

    def _tick(self) -> None:
        self.root.after(TICK, self._tick)

    def _report(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._interrupted = True
            self.root.quit()
        else:
            traceback.print_exception(kind, error, trace)
