"""A window to draw a digit in and watch every registered classifier answer while the pen moves.

    painter = Painter()
    painter.register("SVM", lambda: SVM.load(path), source=path, command="python train_svm.py")
    painter.run()

The strokes are the model, and the canvas is a view of them. While the pen moves, the classifiers are asked up
to 30 times a second. Each is loaded and asked in its own thread, so the window opens at once, and a slow one
never makes the pen stutter: it skips to the newest drawing. The window knows no classifier by name. Only the
main thread calls Tk.

`bench/painter_latency.py` measures the pen, and the time from pen-up to the answers on the screen.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from classifier import InputError

try:
    import tkinter as tk
    from tkinter import ttk
except ModuleNotFoundError:
    raise InputError("This Python has no tkinter; install it (on Debian: apt install python3-tk).") from None

from toolkit.cards import Card, Look
from toolkit.help import Tip, show_keys
from toolkit.ink import Ink
from toolkit.judgement import Detector, Judge, Judgement
from toolkit.painting import BOX, CONTROL, TEXTS, Answer, Answerer, Model, Worker, reason
from toolkit.paper import Paper, Throttle, put
from toolkit.report.texts import Texts
from toolkit.why_panel import WhyPanel

PEN_WIDTHS = (8, 28, 70)  # the narrowest, the first and the widest pen, in units of the box
ASK = 1 / 30  # s between two questions to the classifiers while the pen moves
POLL = 2  # ms between two looks for answers while some are awaited
SLOW = 0.25  # s after which a card says that its answer is still awaited
TICK = 250  # ms between two looks for Ctrl-C in the terminal, which Tk does not notice by itself


class Painter:
    """The window: a canvas to draw on, and a card for each registered classifier.

    Parameters
    ----------
    title : of the window; None says "Draw a digit".
    dark : light ink on dark paper.
    scale : how large everything is, 0.5 to 4; None takes it from the screen.
    language : of the window, such as "en".

    Attributes
    ----------
    drawing : what was drawn.
    image : what classifiers were last asked about, uint8 (28, 28).
    canvas : shows the drawing, and takes the pen.
    workers : the thread of each classifier, and its card.
    waiting : since when an answer of a worker is awaited, for those that owe one or are still loading.
    when_answered : called when the last awaited answer is on the screen, or None.

    Raises
    ------
    InputError : there is no display to open a window on.
    """

    def __init__(
        self,
        title: str | None = None,
        *,
        dark: bool = False,
        scale: float | None = None,
        language: str = "en",
    ) -> None:
        if sys.platform == "win32":  # otherwise Windows draws the window small and enlarges it, blurred
            import ctypes

            with contextlib.suppress(AttributeError, OSError):
                ctypes.windll.shcore.SetProcessDpiAwareness(1)
        try:
            self.root = tk.Tk(className="Digitpainter")
        except tk.TclError as error:
            raise InputError(f"There is no display to open a window on ({error}).") from None
        self.workers: dict[Worker, Card | Judgement] = {}
        self._judgement: Judgement | None = None
        self.waiting: dict[Worker, float] = {}
        self.when_answered: Callable[[], None] | None = None
        self.keys: list[tuple[str, str]] = []
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._asked = self._oldest = 0  # revisions: of the last question, and of the first that still matters
        self._asked_why = False  # whether the last question was also why
        self._polling = False
        self._interrupted = False
        self._started = self._closed = False
        self._ask_frame = Throttle(self.root, ASK, self._ask)
        self.texts = Texts(language, TEXTS)
        self.look = Look(self.root, self.texts, dark=dark, scale=scale)
        self._build(title or self.texts.say("title"))
        self._bind()

    def register(
        self,
        name: str,
        load: Callable[[], Answerer],
        *,
        source: str = "",
        command: str = "",
        models: Sequence[Model] = (),
    ) -> Card:
        """Add a classifier's card.

        Parameters
        ----------
        name : the card's title.
        load : makes the classifier; called in the classifier's thread once the window is open.
        source : where the model comes from, in one or two short lines.
        command : what to type to make the model; shown if `load` fails.
        models : those that the user can choose among; `load` loads the first.
        """
        frame = ttk.Frame(self.cards, style="Card.TFrame", padding=self.look.px(2))
        column = len(self.workers)
        frame.grid(row=0, column=column, sticky="nsew", padx=self.look.px(4))
        self.cards.columnconfigure(column, weight=1, uniform="card")
        card = Card(frame, self.look, name, source, command)
        card.pack(fill="both", expand=True)
        self.why.add(card)
        worker = Worker(load, self._answers)
        self.workers[worker] = card
        self.waiting[worker] = time.perf_counter()
        if len(models) > 1:
            self.offer(card, models)
        narrowest = self.look.px(340 + 140 * len(self.workers))  # the tools, and what a card needs
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

    def say(self, text: str) -> None:
        """Say something about the drawing as a whole, above the cards; "" takes it back."""
        self._remark.configure(text=text)

    def judge(self, load: Callable[[], Detector | None]) -> None:
        """Let a detector say when a drawing is no digit. Register it after the classifiers.

        `load` is called in a thread of its own once the window is open.
        """
        worker = Worker(lambda: Judge(load()), self._answers)
        self.workers[worker] = self._judgement = Judgement(self._judged)
        self.waiting[worker] = time.perf_counter()
        if self._started:
            worker.start()
            self._poll_soon()

    def _judged(self, is_digit: bool) -> None:
        # Half a digit is not one yet, so nothing is said before the pen is up.
        self.say("" if is_digit or self.drawing.pen_down else self.texts.say("no_digit"))

    def add_key(self, name: str, meaning: str, events: Sequence[str], call: Callable[[], object]) -> None:
        """Let keys call a function, and list them among the keys."""
        self.keys.append((name, meaning))
        for event in events:
            with contextlib.suppress(tk.TclError):  # only a Mac has the key Command
                self.root.bind(event, lambda event: call())

    def set_pen_width(self, width: float | str) -> None:
        """Set the width of the next strokes, in units of the box."""
        chosen = self.canvas.pen_width = min(max(float(width), PEN_WIDTHS[0]), PEN_WIDTHS[2])
        if abs(float(self.slider.get()) - chosen) > 1e-6:
            self.slider.set(chosen)
        side = self.canvas.side * PEN_WIDTHS[2] // BOX + 2
        dot = Ink(side)
        dot.draw([(side / 2, side / 2)], chosen * self.canvas.side / BOX)
        self._dot.configure(width=side, height=side)
        put(self._dot, self.look.shades("window")[dot.coverage])

    # The widgets

    def _build(self, title: str) -> None:
        root, px = self.root, self.look.px
        root.title(title)
        width = min(px(1320), root.winfo_screenwidth() - px(40))
        height = min(px(720), root.winfo_screenheight() - px(72))
        root.geometry(f"{width}x{height}")
        root.columnconfigure(1, weight=1)
        root.rowconfigure(2, weight=1)
        self._add_canvas()
        self._add_tools()
        self.side = ttk.Frame(root, padding=(px(13), px(18), px(13), px(18)))
        self.side.grid(row=0, column=1, rowspan=3, sticky="nsew")
        self.side.columnconfigure(0, weight=1)
        self.side.rowconfigure(0, weight=1)
        self.cards = ttk.Frame(self.side)
        self.cards.grid(row=0, column=0, sticky="nsew")
        self.cards.rowconfigure(0, weight=1)
        bold, colour = self.look.font(12, "bold"), self.look.colour["doubt"]
        self._remark = ttk.Label(self.side, font=bold, foreground=colour)
        self._remark.place(x=px(4), y=-px(17))  # above the cards there is room for one line
        self.why = WhyPanel(self.side, self.look, self._ask)
        self._show_image()

    def _add_canvas(self) -> None:
        px = self.look.px
        self.canvas = Paper(self.root, self.look, moved=self._ask_frame.soon, changed=self._changed)
        self.canvas.grid(row=0, column=0, padx=(px(18), 0), pady=(px(18), px(14)), sticky="w")
        self.canvas.add_hint(self.texts.say("hint"), self.texts.say("hint_keys"))
        self.drawing = self.canvas.drawing
        self.image = self.drawing.image()
        self.lift, self.undo, self.clear = self.canvas.lift_pen, self.canvas.undo, self.canvas.clear

    def _add_tools(self) -> None:
        look, px, say = self.look, self.look.px, self.texts.say
        self.tools = ttk.Frame(self.root)
        self.tools.grid(row=1, column=0, padx=(px(18), 0), sticky="ew")
        self.tools.columnconfigure(2, weight=1)
        pairs = ttk.Frame(self.tools)
        pairs.grid(row=0, column=0, sticky="w", pady=(px(2), 0))
        self.buttons = [
            ttk.Button(pairs, text=say("undo"), width=0, command=self.undo),
            ttk.Button(pairs, text=say("clear"), width=0, command=self.clear),
            ttk.Button(self.tools, text="?", width=2, command=self.show_keys),
        ]
        self.buttons[0].grid(row=0, column=0, padx=(0, px(6)))
        self.buttons[1].grid(row=0, column=1, padx=(0, px(6)))
        self.buttons[2].grid(row=2, column=0, sticky="sw")
        hints = f"{say('key_undo')} ({CONTROL}Z)", f"{say('key_clear')} (Esc)", f"{say('keys')} (F1)"
        for button, hint in zip(self.buttons, hints, strict=True):
            Tip(button, look, hint)
        self.slider = ttk.Scale(self.tools, from_=PEN_WIDTHS[0], to=PEN_WIDTHS[2], command=self.set_pen_width)
        self.slider.grid(row=1, column=0, sticky="ew", padx=(0, px(6)))
        Tip(self.slider, look, f"{say('key_wider')} (+), {say('key_narrower')} (−)")
        self._dot = tk.PhotoImage(master=self.root)
        dot = tk.Label(self.tools, image=self._dot, borderwidth=0, background=look.colour["window"])
        dot.grid(row=0, column=1, rowspan=2, sticky="w")
        seen = ttk.Label(self.tools, text=say("seen"), font=look.font(12), foreground=look.colour["muted"])
        seen.grid(row=2, column=0, columnspan=3, sticky="se", padx=(px(34), px(8)))
        self.picture = tk.PhotoImage(master=self.root)
        self._zoom = px(4)
        tk.Label(self.tools, image=self.picture, **look.border).grid(row=0, column=3, rowspan=3)

    def _bind(self) -> None:
        root, canvas, say = self.root, self.canvas, self.texts.say
        root.protocol("WM_DELETE_WINDOW", self.close)
        canvas.bind("<Map>", lambda event: root.after_idle(self._start))
        for wheel in ("<MouseWheel>", "<Button-4>", "<Button-5>"):  # the buttons are the wheel on X11
            canvas.bind(wheel, self._wheel)
        root.bind("<Configure>", lambda event: self._resize(event) if event.widget is root else None)
        self.keys.append((say("mouse"), say("key_draw")))
        undo = ["<Control-z>", "<Control-Z>", "<Command-z>", "<BackSpace>"]
        self.add_key(f"{CONTROL}Z", say("key_undo"), undo, self.undo)
        self.add_key("Esc", say("key_clear"), ["<Escape>"], lambda: self.why.close() or self.clear())
        wider, narrower = (partial(self._widen, step) for step in (4, -4))
        self.add_key("+", say("key_wider"), ["<plus>", "<KP_Add>"], wider)
        self.add_key("−", say("key_narrower"), ["<minus>", "<KP_Subtract>"], narrower)
        self.add_key("F1, ?", say("key_help"), ["<F1>", "<question>"], self.show_keys)
        self.add_key(f"{CONTROL}Q", say("key_close"), ["<Control-q>", "<Command-q>"], self.close)

    def show_keys(self) -> None:
        """List all keys in a window of its own."""
        show_keys(self.root, self.look, self.keys)

    # What events do

    def _wheel(self, event: tk.Event) -> None:
        self._widen(2 if event.num == 4 or event.delta > 0 else -2)

    def _widen(self, step: float) -> None:
        self.set_pen_width(self.canvas.pen_width + step)

    def _resize(self, event: tk.Event) -> None:
        px = self.look.px
        below = self.tools.winfo_reqheight() + px(18 + 14 + 18)
        wanted = max(event.width * 46 // 100, self.tools.winfo_reqwidth())
        self.canvas.resize(max(px(120), min(event.height - below, wanted)))
        self.set_pen_width(self.canvas.pen_width)

    def _show_image(self) -> None:
        # The pixels that classifiers get, with paper and ink as in the window.
        shown = self.image if self.look.dark else 255 - self.image
        put(self.picture, shown.repeat(self._zoom, axis=0).repeat(self._zoom, axis=1))

    def offer(self, card: Card, models: Sequence[Model]) -> None:
        """Let the user choose among a classifier's models, of which the first is in use."""
        card.offer([model.label for model in models], lambda index: self.choose(card, models[index]))
        number = list(self.workers.values()).index(card) + 1
        if f"{CONTROL}{number}" not in dict(self.keys):
            meaning = f"{card.name}: {self.texts.say('key_model')}"
            self.add_key(f"{CONTROL}{number}", meaning, [f"<Control-Key-{number}>"], card.open_menu)

    def choose(self, card: Card, model: Model) -> None:
        """Take another model for a card's classifier."""
        old = next(worker for worker, its_card in self.workers.items() if its_card is card)
        new = Worker(model.load, self._answers)
        old.stop()
        self.waiting.pop(old, None)
        self.workers = {new if worker is old else worker: its for worker, its in self.workers.items()}
        self.waiting[new] = time.perf_counter()
        card.state, card.source, card.quality = "loading", model.source, []
        card.blank()
        new.start()
        self._poll_soon()

    def answers(self) -> dict[str, int]:
        """Return what each classifier reads in the drawing, by its name, if it has answered."""
        shown = [(worker, card) for worker, card in self.workers.items() if isinstance(card, Card)]
        return {
            card.name: int(card.digit) for worker, card in shown if card.digit and worker not in self.waiting
        }

    # Asking, and taking answers

    def _start(self) -> None:
        """Load the classifiers, now that the window is open."""
        if self._started:
            return
        self._started = True
        # By default a thread that computes in Python keeps the others waiting for 5 ms: too long for a pen.
        sys.setswitchinterval(0.001)
        self._load_next()
        self._poll_soon()

    def _load_next(self) -> None:
        # One after the other: beside a slow one, the quick ones would be ready no sooner than it.
        for worker in self.workers:
            if worker.ident is None:
                worker.start()
                break

    def _changed(self, took_back: bool) -> None:
        if took_back:  # no answer so far is about this drawing
            self._oldest = self.drawing.revision
        if self._judgement is not None:
            self._judgement.draw()
        if self._asked != self.drawing.revision or self.why.is_open:
            self._ask_frame.now()

    def _ask(self) -> None:
        """Show the drawing's image and ask every classifier about it."""
        self._asked = self.drawing.revision
        self._asked_why = self.why.is_open and not self.drawing.pen_down
        self.image = self.drawing.image()
        for worker in self.workers:
            self._ask_one(worker)
        self._show_image()
        self._poll_soon()

    def _ask_one(self, worker: Worker) -> None:
        if worker.classifier is None:  # `_take` asks it when it is loaded
            return
        self.workers[worker].state = "ready"
        if self.image.any():
            self.waiting.setdefault(worker, time.perf_counter())
            worker.ask(self._asked, self.image, why=self._asked_why)
        else:  # blank paper is no digit
            self.waiting.pop(worker, None)
            self.workers[worker].blank()
            self.why.show(self.workers[worker], [], self.image)

    def _poll_soon(self) -> None:
        if self.waiting and self._started and not self._polling:
            self._polling = True
            self.root.after(POLL, self._poll)

    def _poll(self) -> None:
        self._polling = False
        while not self._answers.empty():
            self._take(self._answers.get())
        for worker, since in self.waiting.items():
            card = self.workers[worker]
            if time.perf_counter() - since > SLOW and not card.due:
                card.due = True
                card.draw()
        self._poll_soon()
        if not self.waiting and self.when_answered is not None:
            self.root.update_idletasks()
            self.when_answered()

    def _take(self, answer: Answer) -> None:
        worker, card = answer.worker, self.workers.get(answer.worker)
        if answer.revision is None:
            self._load_next()
        if card is None or (answer.revision is not None and answer.revision < self._oldest):
            return
        newest = answer.revision == self._asked and (answer.parts is not None) == self._asked_why
        if newest or answer.revision is None:
            self.waiting.pop(worker, None)
        else:  # while the pen moves, an answer is about the drawing as it just was
            self.waiting[worker] = time.perf_counter()
        metrics = getattr(worker.classifier, "metrics", {})
        if answer.error is not None:
            card.fail(reason(answer.error))
        elif answer.revision is None:
            if hasattr(worker.classifier, "explain") and not self.why.is_offered:
                self.why.offer()
                self.add_key("W", self.texts.say("key_why"), ["<w>", "<W>"], self.why.toggle)
            card.state = "ready"
            card.rate(metrics)
            card.draw()
            self._ask_one(worker)
        else:
            card.answer(answer.probabilities, metrics.get("unsure_below"))
        if newest and answer.parts is not None:
            self.why.show(card, answer.parts, self.image)

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True

    def _tick(self) -> None:
        if self._interrupted:
            self.root.quit()
        else:
            self.root.after(TICK, self._tick)
