"""Measure how long the painter takes from pen-up to every answer, and whether the pen stutters.

    python bench/painter_latency.py pendigits.npz      # on this display; Xvfb will do

Real drawings are replayed as real window events, at the pace of a pen, in the window that `predict.py` opens.
Measured are

- for each drawing, the time from the event that lifts the pen last until the display server has drawn every
  answer;
- for each pen event, how late the window got to it: with these classifiers alone, and beside one more that
  computes in Python for half a second an answer;
- how many pen events a second the window takes at most.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import predict
from classifier import InputError
from digitpainter import Painter
from toolkit import commandline
from toolkit.drawings import load_drawings
from toolkit.strokes import BOX

Event = tuple[str, float, float]  # what happens, and where in the box


class Busy:
    """Computes in Python for half a second and answers 0: the hardest neighbour for the window's thread."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass
        return np.eye(10, dtype=np.float32)[0]


def pen_events(strokes: list[np.ndarray]) -> Iterator[Event]:
    """Yield the events of drawing strokes."""
    for stroke in strokes:
        yield ("<ButtonPress-1>", *stroke[0])
        for point in stroke[1:]:
            yield ("<B1-Motion>", *point)
        yield ("<ButtonRelease-1>", *stroke[-1])


class Replay:
    """Replays drawings in a painter at the pace of a pen. Collects latencies and lateness, in seconds."""

    def __init__(self, painter: Painter, drawings: list[list[np.ndarray]], interval: float) -> None:
        self.painter, self.drawings, self.interval = painter, drawings, interval
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self._lifted = 0.0

    def generate(self, event: Event) -> None:
        name, x, y = event
        factor = self.painter.canvas.winfo_width() / BOX
        self.painter.canvas.event_generate(name, x=round(x * factor), y=round(y * factor))

    def run(self) -> None:
        """Replay all drawings; return when the last one is answered."""
        self.painter.when_answered = self._answered
        self._remaining = list(self.drawings)
        self._next_drawing()
        self.painter.root.mainloop()
        self.painter.when_answered = None

    def _next_drawing(self) -> None:
        self.painter.clear()
        if not self._remaining:
            self.painter.root.quit()
            return
        self._events = list(pen_events(self._remaining.pop()))
        self._due = time.perf_counter() + 0.02
        self.painter.root.after(20, self._next_event)

    def _next_event(self) -> None:
        # Tk's timers have whole milliseconds: only what goes beyond one is lateness.
        self.lateness.append(max(0.0, time.perf_counter() - self._due - 0.001))
        event = self._events.pop(0)
        if not self._events:
            self._lifted = time.perf_counter()
        self.generate(event)
        if self._events:
            self._due = max(self._due + self.interval, time.perf_counter())
            self.painter.root.after(round((self._due - time.perf_counter()) * 1000), self._next_event)

    def _answered(self) -> None:
        if self._events or not self._lifted:
            return
        self.painter.root.winfo_pointerxy()  # the server answers when it has drawn what came before
        self.latencies.append(time.perf_counter() - self._lifted)
        self._lifted = 0.0
        self.painter.root.after_idle(self._next_drawing)


def summary(seconds: list[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the maximum, in milliseconds."""
    values = np.array(seconds) * 1000
    shares = {"median": np.median(values), "p99": np.percentile(values, 99), "max": values.max()}
    return {name: round(float(value), 2) for name, value in shares.items()}


def wait(painter: Painter, done: Callable[[], bool]) -> None:
    while not done():
        painter.root.update()
        time.sleep(0.002)


def measure(drawings: list[list[np.ndarray]], interval: float) -> dict[str, Any]:
    """Measure everything. Raises InputError if no classifier has a model."""
    start = time.perf_counter()
    painter = Painter()
    for kind, name in predict.CLASSIFIERS.items():
        painter.register(name, partial(predict.load, kind), source=predict.source(kind))
    wait(painter, lambda: bool(painter.canvas.winfo_viewable()))
    opened = time.perf_counter() - start
    wait(painter, lambda: not painter.waiting)
    loaded = time.perf_counter() - start
    answering = [card.name for card in painter.workers.values() if card.state == "ready"]
    if not answering:
        painter.close()
        raise InputError("no classifier has a model; train one, such as with python train_softmax.py.")
    painter.root.geometry("1326x700")

    replay = Replay(painter, drawings, interval)
    replay.run()
    events = [event for strokes in drawings[:50] for event in pen_events(strokes)]
    moves = [event for event in events if event[0] == "<B1-Motion>"]
    replay.generate(("<ButtonPress-1>", 0, 0))
    first = time.perf_counter()
    for number, move in enumerate(moves):
        replay.generate(move)
        if number % 10 == 0:
            painter.root.update()
    rate = len(moves) / (time.perf_counter() - first)
    replay.generate(("<ButtonRelease-1>", 0, 0))
    painter.register("Busy", Busy)
    wait(painter, lambda: not painter.waiting)
    beside = Replay(painter, drawings[:20], interval)
    beside.run()
    painter.close()
    return {
        "classifiers": answering,
        "drawings": len(replay.latencies),
        "window_open_ms": round(opened * 1000),
        "all_loaded_ms": round(loaded * 1000),
        "pen_up_to_answers_ms": summary(replay.latencies),
        "pen_event_late_ms": summary(replay.lateness),
        "pen_event_late_beside_a_busy_classifier_ms": summary(beside.lateness),
        "pen_events_a_second": round(rate),
        "python": platform.python_version(),
    }


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("drawings", metavar="FILE", help="recorded drawings, an .npz")
    parser.add_argument("--count", type=commandline.positive_int, default=200, help="how many drawings")
    parser.add_argument(
        "--interval", type=commandline.positive_int, default=8, help="milliseconds between two pen events"
    )
    parser.add_argument("--seed", type=commandline.seed, default=0, help="of the choice of drawings")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    strokes = load_drawings(arguments.drawings).strokes
    chosen = np.random.default_rng(arguments.seed).permutation(len(strokes))[: arguments.count]
    result = measure([strokes[index] for index in chosen], arguments.interval / 1000)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, dict):
            text = "  ".join(f"{part} {number:.1f}" for part, number in value.items())
        print(f"{name.replace('_', ' '):45} {text}")


if __name__ == "__main__":
    commandline.run(main)
