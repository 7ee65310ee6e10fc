"""What a person tells the window: which digit a drawing is, and that a classifier is to learn from that.

A key from 0 to 9, or a click on a digit's bar, labels the drawing (`toolkit/corrections.py`). The line below
the cards says so. There, "Learn from my corrections" runs a command in the background that makes a new model.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tkinter import ttk
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from classifier import InputError
from toolkit import corrections
from toolkit.cards import Card, Look
from toolkit.drawings import load_set
from toolkit.files import read_arrays
from toolkit.help import Tip
from toolkit.painting import CONTROL

if TYPE_CHECKING:
    from toolkit.drawings import Drawings
    from toolkit.painting import Model, Worker
    from toolkit.paper import Paper

    import numpy as np

LOOK = 200  # ms between two looks at the command that runs


class Window(Protocol):
    """What the lessons need of the painter."""

    root: tk.Tk
    look: Look
    canvas: Paper
    side: ttk.Frame
    cards: ttk.Frame
    workers: dict[Worker, Any]
    image: np.ndarray
    lift: Callable[[], None]
    keys: list[tuple[str, str]]

    def answers(self) -> dict[str, int]: ...

    def offer(self, card: Card, models: Sequence[Model]) -> None: ...

    def choose(self, card: Card, model: Model) -> None: ...

    def add_key(self, name: str, meaning: str, events: Sequence[str], call: Callable[[], object]) -> None: ...


class Learner(NamedTuple):
    """A classifier that learns from corrections.

    Attributes
    ----------
    card : of the classifier.
    command : what to run; it writes `output`, or ends with 2 and a sentence on standard error.
    output : the model file.
    models : those that the card offers once there is a new one, which is the first.
    """

    card: Card
    command: Callable[[], Sequence[str]]
    output: Path
    models: Callable[[], Sequence[Model]]


class Lessons:
    """Takes a person's word for what was drawn, and has a classifier learn from it.

    Parameters
    ----------
    path : the file of corrections.
    learners : learn one after the other; without any, "Learn from my corrections" is left out.
    """

    def __init__(self, painter: Window, path: Path, learners: Sequence[Learner] = ()) -> None:
        self.painter, self.path, self.learners = painter, path, learners
        self.process: subprocess.Popen[bytes] | None = None
        self._note = ""  # what to say about the drawing
        self._is_new = False  # whether there are corrections that were not learned from
        px, look, say = painter.look.px, painter.look, painter.look.texts.say
        self.line = ttk.Label(painter.side, font=look.font(12), foreground=look.colour["muted"])
        # Below the cards there is room for one line. A long one covers their lower end until it is clicked.
        self.line.place(in_=painter.cards, x=px(4), rely=1, y=px(17), anchor="sw")
        self.line.bind("<ButtonPress-1>", lambda event: self._clear())
        self.link = ttk.Label(
            painter.side, text=say("learn"), font=look.font(12), foreground=look.colour["accent"]
        )
        self.link.configure(cursor="hand2")
        self.link.bind("<ButtonPress-1>", lambda event: self.learn())
        for digit in range(10):
            painter.root.bind(f"<Key-{digit}>", partial(self._key, digit))
            painter.root.bind(f"<KP_{digit}>", partial(self._key, digit))
        painter.keys.append(("0 … 9", say("key_label")))
        for card in self._cards():
            card.take_labels(self.label)
        painter.canvas.bind("<ButtonPress-1>", lambda event: self._clear(), add=True)
        painter.root.bind("<Destroy>", self._stop, add=True)
        if learners:
            Tip(self.link, look, f"{say('key_learn')} ({CONTROL}L)")
            keys = ["<Control-l>", "<Control-L>", "<Command-l>"]
            painter.add_key(f"{CONTROL}L", say("key_learn"), keys, self.learn)
        with contextlib.suppress(InputError, OSError):  # said when the next drawing is labelled
            self._show(load_set(path))

    def _cards(self) -> list[Card]:
        return [card for card in self.painter.workers.values() if isinstance(card, Card)]

    def _key(self, digit: int, event: tk.Event) -> None:
        if not int(event.state) & 0x4:  # Control and a digit choose a model
            self.label(digit)

    def label(self, digit: int) -> None:
        """Save the drawing as a digit."""
        painter, say = self.painter, self.painter.look.texts.say
        painter.lift()
        if not painter.image.any():
            return self._say(say("draw_first"))
        try:
            together = corrections.add(self.path, painter.canvas.drawing.points(), digit, painter.answers())
        except (InputError, OSError) as error:
            return self._say(say("not_saved", error=error))
        self._show(together)
        self._note = say("saved_as", digit=digit)
        self._say(self._note)

    def learn(self) -> None:
        """Have the classifiers learn from all corrections, in the background."""
        if self.learners and self.process is None and self.path.exists():
            self.link.place_forget()
            self._is_new = False
            self._start(list(self.learners), [])

    def _start(self, learners: list[Learner], results: list[str]) -> None:
        """Have the first of some classifiers learn; say what the others reached when none is left."""
        if not learners:
            return self._say("\n".join(results))
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 -- it must outlive this call
        command, name = learners[0].command(), learners[0].card.name
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._errors)
        except OSError as error:
            self._errors.close()
            self._is_new = True
            result = self.painter.look.texts.say("not_learned", error=error)
            return self._start(learners[1:], [*results, f"{name}: {result}"])
        self._watch(learners, results, time.monotonic())

    def _watch(self, learners: list[Learner], results: list[str], started: float) -> None:
        """Say how long a classifier has been learning, until it has learned."""
        assert self.process is not None
        status, learner, say = self.process.poll(), learners[0], self.painter.look.texts.say
        if status is None:
            learning = say("learning", name=learner.card.name, seconds=round(time.monotonic() - started))
            self._say(f"{self._note}   {learning}".strip())
            self.painter.root.after(LOOK, self._watch, learners, results, started)
            return
        self.process, error = None, self._last_error()
        if status:
            self._is_new = True
            result = say("not_learned", error=error or f"exit {status}")
        else:
            models = learner.models()
            self.painter.offer(learner.card, models)
            self.painter.choose(learner.card, models[0])
            result = self._learned(learner.output)
        self._start(learners[1:], [*results, f"{learner.card.name}: {result}"])

    def _last_error(self) -> str:
        """Return the last sentence that the command wrote on standard error."""
        with self._errors:
            self._errors.seek(0)
            lines = self._errors.read().split("\n")
        line = next((line for line in reversed(lines) if line.strip()), "")
        return line.partition(": error: ")[2] or line

    def _learned(self, output: Path) -> str:
        """Say what the new model reads, and what the old one read, as its file says."""
        try:
            counts = read_arrays(output)[1]["trained_on"]["fine_tuned"]
            shown = {
                f"{part}_{name}": counts[part][name]
                for part in ("corrections", "validation")
                for name in ("before", "after", "count")
            }
        except (InputError, KeyError, TypeError) as error:
            return self.painter.look.texts.say("not_learned", error=error)
        return self.painter.look.texts.say("learned", **shown)

    def _show(self, together: Drawings) -> None:
        """Show on each card how often its classifier was right today."""
        found = corrections.tallies(together)
        for card in self._cards():
            right, count = found.get(card.name, (0, 0))
            say = self.painter.look.texts.say
            text = say("right_today", right=right, count=count) if count else ""
            card.tally = text or (" " if found else "")  # all cards give it room, or none
            card.draw()
        self._is_new = bool(len(together))
        self._clear()

    def _clear(self) -> None:
        """Say nothing, and offer to learn if there is something new."""
        self._note = ""
        if self.process is None:
            self._say("")
        if self.process is None and self.learners and self._is_new:
            px = self.painter.look.px
            self.link.place(in_=self.painter.cards, relx=1, x=-px(4), rely=1, y=px(17), anchor="se")

    def _say(self, text: str) -> None:
        self.line.configure(text=text, wraplength=self.painter.cards.winfo_width() - self.painter.look.px(8))

    def _stop(self, event: tk.Event) -> None:
        if event.widget is self.painter.root and self.process is not None:
            self.process.terminate()
            self._errors.close()
