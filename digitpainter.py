"""A window to draw a digit in and watch every registered classifier answer as the pen lifts.

    painter = Painter()
    painter.register("SVM", lambda: SVM.load(path), source=path, command="python train_svm.py")
    painter.run()

The strokes are the model, and the canvas is a view of them. Each classifier is loaded and asked in its own
thread, so the window opens at once and a slow classifier never makes the pen stutter. An answer to an older
drawing is dropped. The window knows no classifier by name. Only the main thread calls Tk.

`bench/painter_latency.py` measures the time from pen-up to the answers on the screen.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from classifier import InputError

try:
    import tkinter as tk
    from tkinter import ttk
except ModuleNotFoundError:
    raise InputError("This Python has no tkinter; install it (on Debian: apt install python3-tk).") from None

from toolkit.cards import Card, Look
from toolkit.painting import BOX, Answer, Answerer, Drawing, Worker, reason

PEN_WIDTHS = (8, 28, 70)  # the narrowest, the first and the widest pen, in units of the box
POLL = 5  # ms between two looks for answers while some are awaited
SLOW = 250  # ms after which a card says that its answer is still awaited
TICK = 250  # ms between two looks for Ctrl-C in the terminal, which Tk does not notice by itself


class Painter:
    """The window: a canvas to draw on, and a card for each registered classifier.

    Parameters
    ----------
    title : of the window.
    dark : light ink on dark paper.
    scale : how large everything is, 0.5 to 4; None takes it from the screen's resolution.

    Attributes
    ----------
    drawing : what was drawn.
    image : what classifiers were last asked about, uint8 (28, 28).
    workers : the thread of each classifier, and its card.
    waiting : the workers whose answer to this drawing is awaited, or that are still loading.
    when_answered : called when the last awaited answer is on the screen, or None.

    Raises
    ------
    InputError : there is no display to open a window on.
    """

    def __init__(
        self, title: str = "Draw a digit", *, dark: bool = False, scale: float | None = None
    ) -> None:
        if sys.platform == "win32":  # otherwise Windows draws the window small and enlarges it, blurred
            import ctypes

            with contextlib.suppress(AttributeError, OSError):
                ctypes.windll.shcore.SetProcessDpiAwareness(1)
        try:
            self.root = tk.Tk(className="Digitpainter")
        except tk.TclError as error:
            raise InputError(f"There is no display to open a window on ({error}).") from None
        self.drawing = Drawing()
        self.image = self.drawing.image()
        self.pen_width: float = PEN_WIDTHS[1]
        self.workers: dict[Worker, Card] = {}
        self.waiting: set[Worker] = set()
        self.when_answered: Callable[[], None] | None = None
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._polling = False
        self._interrupted = False
        self._side = 1  # of the canvas, in pixels
        self._middle = 0.0  # where the hint is
        self._started = self._closed = False
        self.look = Look(self.root, dark=dark, scale=scale)
        self._build(title)
        self._bind()

    def register(
        self, name: str, load: Callable[[], Answerer], *, source: str = "", command: str = ""
    ) -> Card:
        """Add a classifier's card.

        Parameters
        ----------
        name : the card's title.
        load : makes the classifier; called in the classifier's thread once the window is open.
        source : where the model comes from, in one or two short lines.
        command : what to type to make the model; shown if `load` fails.
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
        """Show the window until it is closed. Raises KeyboardInterrupt after Ctrl-C in the terminal."""
        # An exception raised wherever Python happens to be could get lost, so Ctrl-C only leaves a note, and
        # `_tick` finds it.
        previous = signal.signal(signal.SIGINT, self._interrupt)
        self._tick()
        try:
            self.root.mainloop()
        finally:
            self.close()
            signal.signal(signal.SIGINT, previous)
        if self._interrupted:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Close the window. Each classifier's thread ends when it has done what it is at."""
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
        """Lift the pen and ask the classifiers."""
        if self.drawing.lift():
            self._ask()
            self._draw_stroke(len(self.drawing.strokes) - 1)

    def set_pen_width(self, width: float | str) -> None:
        """Set the width of the next strokes, in units of the box."""
        self.pen_width = min(max(float(width), PEN_WIDTHS[0]), PEN_WIDTHS[2])
        if abs(float(self.slider.get()) - self.pen_width) > 1e-6:
            self.slider.set(self.pen_width)
        middle, radius = self.dot.winfo_reqwidth() / 2, self.pen_width * self._side / BOX / 2
        self.dot.coords("pen", middle - radius, middle - radius, middle + radius, middle + radius)

    # The widgets

    def _build(self, title: str) -> None:
        root, px = self.root, self.look.px
        root.title(title)
        width = min(px(1320), root.winfo_screenwidth() - px(40))
        height = min(px(720), root.winfo_screenheight() - px(72))
        root.geometry(f"{width}x{height}")
        root.columnconfigure(1, weight=1)
        root.rowconfigure(2, weight=1)
        self._border: dict[str, Any] = {
            "background": self.look.colour["paper"],
            "borderwidth": 0,
            "highlightthickness": 1,
            "highlightbackground": self.look.colour["line"],
        }
        self._add_canvas()
        self._add_tools()
        self.side = ttk.Frame(root, padding=(px(13), px(18), px(13), px(18)))
        self.side.grid(row=0, column=1, rowspan=3, sticky="nsew")
        self.side.columnconfigure(0, weight=1)
        self.side.rowconfigure(0, weight=1)
        self.cards = ttk.Frame(self.side)
        self.cards.grid(row=0, column=0, sticky="nsew")
        self.cards.rowconfigure(0, weight=1)
        self._show_image()

    def _add_canvas(self) -> None:
        look, px = self.look, self.look.px
        self.canvas = tk.Canvas(self.root, cursor="pencil", **self._border)
        self.canvas.grid(row=0, column=0, padx=(px(18), 0), pady=(px(18), px(14)), sticky="w")
        faint: dict[str, Any] = {"fill": look.colour["faint"], "tags": "hint", "justify": "center"}
        self.canvas.create_text(0, px(-14), text="Draw a digit here", font=look.font(22), **faint)
        keys = "Ctrl+Z takes back a stroke, Esc all of them\nthe mouse wheel sets the pen's width"
        self.canvas.create_text(0, px(28), text=keys, font=look.font(12), **faint)

    def _add_tools(self) -> None:
        look, px = self.look, self.look.px
        self.tools = ttk.Frame(self.root)
        self.tools.grid(row=1, column=0, padx=(px(18), 0), sticky="ew")
        self.tools.columnconfigure(2, weight=1)
        muted: dict[str, Any] = {"font": look.font(12), "foreground": look.colour["muted"]}
        ttk.Button(self.tools, text="Undo", width=7, command=self.undo).grid(row=0, column=0)
        ttk.Button(self.tools, text="Clear", width=7, command=self.clear).grid(row=0, column=1, padx=px(8))
        pen = ttk.Frame(self.tools)
        pen.grid(row=1, column=0, columnspan=2, sticky="ew", padx=(0, px(8)))
        pen.columnconfigure(1, weight=1)
        ttk.Label(pen, text="Pen", **muted).grid(row=0, column=0, padx=(0, px(8)))
        self.slider = ttk.Scale(pen, from_=PEN_WIDTHS[0], to=PEN_WIDTHS[2], command=self.set_pen_width)
        self.slider.grid(row=0, column=1, sticky="ew")
        size, window = px(56), look.colour["window"]
        self.dot = tk.Canvas(self.tools, width=size, height=size, background=window, highlightthickness=0)
        self.dot.create_oval(0, 0, 0, 0, width=0, fill=look.colour["ink"], tags="pen")
        self.dot.grid(row=0, column=2, rowspan=2, sticky="w")
        seen = ttk.Label(self.tools, text="what the\nclassifiers see", justify="right", **muted)
        seen.grid(row=0, column=3, rowspan=2, padx=px(10))
        self.picture = tk.PhotoImage(master=self.root)
        self._zoom = px(3)
        tk.Label(self.tools, image=self.picture, **self._border).grid(row=0, column=4, rowspan=2)

    def _bind(self) -> None:
        root, canvas = self.root, self.canvas
        root.protocol("WM_DELETE_WINDOW", self.close)
        canvas.bind("<ButtonPress-1>", self._press)
        canvas.bind("<B1-Motion>", self._move)
        canvas.bind("<ButtonRelease-1>", self._lift)
        canvas.bind("<Map>", lambda event: root.after_idle(self._start))
        for wheel in ("<MouseWheel>", "<Button-4>", "<Button-5>"):  # the buttons are the wheel on X11
            canvas.bind(wheel, self._wheel)
        for key in ("<Control-z>", "<Control-Z>", "<Command-z>"):
            with contextlib.suppress(tk.TclError):  # only a Mac has the key Command
                root.bind(key, lambda event: self.undo())
        root.bind("<Escape>", lambda event: self.clear())
        root.bind("<Configure>", lambda event: self._resize(event) if event.widget is root else None)

    # What events do

    def _press(self, event: tk.Event) -> None:
        self.lift()  # the window may never have been told that the last stroke ended
        self.drawing.press(event.x * BOX / self._side, event.y * BOX / self._side, self.pen_width)
        self.canvas.itemconfigure("hint", state="hidden")
        self._draw_stroke(len(self.drawing.strokes) - 1)

    def _move(self, event: tk.Event) -> None:
        if self.drawing.move(event.x * BOX / self._side, event.y * BOX / self._side):
            self._draw_line(len(self.drawing.strokes) - 1, self.drawing.strokes[-1][-2:])

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
        for index in range(len(self.drawing.strokes)):
            self._draw_stroke(index)
        self.set_pen_width(self.pen_width)

    def _draw_stroke(self, index: int) -> None:
        """Draw a stroke again in one piece."""
        self.canvas.delete(f"stroke{index}")
        self._draw_line(index, self.drawing.strokes[index])

    def _draw_line(self, index: int, points: Sequence[tuple[float, float]]) -> None:
        """Draw points of a stroke."""
        factor = self._side / BOX
        ends = [length * factor for point in points for length in point]
        if len(points) == 1:  # a line needs two points; such a short one is a dot
            ends += [ends[0] + 0.1, ends[1]]
        width = self.drawing.widths[index] * factor
        # Tk draws ragged edges. A slightly wider line below, in a middle tone, smooths them.
        for colour, wider in (("ink", -0.5), ("edge", 1)):
            line = self.canvas.create_line(
                *ends,
                width=width + wider,
                fill=self.look.colour[colour],
                capstyle="round",
                joinstyle="round",
                tags=("line", f"stroke{index}"),
            )
        self.canvas.tag_lower(line)

    def _show_image(self) -> None:
        # The pixels that classifiers get, with paper and ink as in the window.
        shown = self.image if self.look.dark else 255 - self.image
        large = shown.repeat(self._zoom, axis=0).repeat(self._zoom, axis=1)
        self.picture.configure(data=b"P5 %d %d 255\n" % large.shape[::-1] + large.tobytes(), format="ppm")

    # Asking, and taking answers

    def _start(self) -> None:
        """Load the classifiers, now that the window is open."""
        if self._started:
            return
        self._started = True
        # By default a thread that computes in Python keeps the others waiting for 5 ms: too long for a pen.
        sys.setswitchinterval(0.001)
        for worker in self.workers:
            worker.start()
        self._poll_soon()

    def _ask(self) -> None:
        """Show the drawing's image and ask every classifier about it."""
        if not self.drawing.strokes:
            self.canvas.itemconfigure("hint", state="normal")
        self.image = self.drawing.image()
        for worker in self.workers:
            self._ask_one(worker)
        self._show_image()
        revision = self.drawing.revision
        self.root.after(SLOW, lambda: self._show_due(revision))
        self._poll_soon()

    def _ask_one(self, worker: Worker) -> None:
        if worker.classifier is None:  # `_take` asks it when it is loaded
            return
        self.workers[worker].state = "ready"
        if self.image.any():
            self.waiting.add(worker)
            worker.ask(self.drawing.revision, self.image)
        else:  # blank paper is no digit
            self.waiting.discard(worker)
            self.workers[worker].blank()

    def _show_due(self, revision: int) -> None:
        for worker in self.waiting if revision == self.drawing.revision else ():
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
        if answer.revision not in (None, self.drawing.revision):
            return
        self.waiting.discard(worker)
        if answer.error is not None:
            card.fail(reason(answer.error))
        elif answer.revision is None:
            card.state = "ready"
            card.draw()
            if not self.drawing.pen_down:
                self._ask_one(worker)
        else:
            assert worker.classifier is not None
            card.answer(answer.probabilities, worker.classifier.metrics.get("unsure_below"))

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True

    def _tick(self) -> None:
        if self._interrupted:
            self.root.quit()
        else:
            self.root.after(TICK, self._tick)
