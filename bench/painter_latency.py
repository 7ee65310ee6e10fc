"""Measure how long the painter takes from pen-up to every answer, and whether the pen stutters.

    python bench/painter_latency.py pendigits.npz      # on this display; Xvfb will do

Opens the window of `predict.py` ten times, then replays 200 real drawings in it as window events, one every
8 ms. It prints

- the time from starting Python until the window is on the screen, and until every model has answered once;
- for each drawing, the time from the event that lifts the pen last until the display server has drawn every
  answer, and how many answers a second came while the pen was down;
- for each pen event, how late the window got to it: with these classifiers alone, and beside one more that
  computes in Python for half a second an answer;
- how many pen events a second the window takes, one after the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import predict
from classifier import InputError
from digitpainter import Painter
from toolkit import commandline
from toolkit.drawings import load_drawings
from toolkit.painting import BOX

DONT_WAIT = 2  # Tcl's flag: handle an event only if there is one

COUNT = 200  # drawings
INTERVAL = 0.008  # s between two pen events
OPEN = """
import sys, time
sys.path.insert(0, sys.argv[1])
import predict
from digitpainter import Painter
def run(painter):
    painter.canvas.wait_visibility()
    painter.root.update()
    painter.root.winfo_pointerxy()
    print(time.time() - float(sys.argv[2]))
    painter.when_answered = painter.root.quit
    painter.root.mainloop()
    print(time.time() - float(sys.argv[2]), flush=True)
Painter.run = run
predict.main([])
"""


class Busy:
    """Computes in Python for half a second and answers 0: the hardest neighbour for the window's thread."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass
        return np.eye(10, dtype=np.float32)[0]


def open_window() -> tuple[float, float]:
    """Open the window in a new process; return the seconds until it is shown, and until all models answer."""
    root = str(Path(__file__).resolve().parent.parent)
    # As on a user's computer: the first start leaves compiled modules for the next ones.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": tempfile.gettempdir() + "/painter_latency"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, root, str(time.time())],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    shown, loaded = done.stdout.split()
    return float(shown), float(loaded)


def wait_for_answers(painter: Painter) -> None:
    """Run the window until every awaited answer is on the screen."""
    painter.when_answered = painter.root.quit
    if painter.waiting:  # otherwise the drawing was answered before the pen was lifted
        painter.root.mainloop()
    painter.when_answered = None
    painter.root.winfo_pointerxy()  # the display server answers when it has drawn what came before


def events(painter: Painter, strokes: list[np.ndarray]) -> Iterator[tuple[str, int, int]]:
    """Yield the event and the place on the canvas of each point, and of each pen-up."""
    factor = painter.canvas.winfo_width() / BOX
    for stroke in strokes:
        names = ["<ButtonPress-1>", *["<B1-Motion>"] * (len(stroke) - 1), "<ButtonRelease-1>"]
        places = np.rint(stroke * factor).astype(int).tolist()
        for name, (x, y) in zip(names, [*places, places[-1]], strict=True):
            yield name, x, y


def replay(
    painter: Painter, drawings: list[list[np.ndarray]]
) -> tuple[list[float], list[float], list[float]]:
    """Draw at the pace of a pen.

    Returns
    -------
    For each drawing the seconds from pen-up to the last answer, for each pen event how late it was, and for
    each drawing how often a second each classifier's card showed an answer.
    """
    latencies, lateness, rates, shown = [], [], [], [0]
    for card in painter.workers.values():
        answer = card.answer
        card.answer = lambda *a, answer=answer: (answer(*a), shown.append(shown.pop() + 1))  # type: ignore
    for strokes in drawings:
        painter.clear()
        due = time.perf_counter() + 0.02
        start, shown[0] = due, 0
        for event, x, y in events(painter, strokes):
            painter.root.after(max(0, round((due - time.perf_counter()) * 1000)), painter.root.quit)
            painter.root.mainloop()
            # Tk's timers have whole milliseconds: only what goes beyond one is lateness.
            lateness.append(max(0.0, time.perf_counter() - due - 0.001))
            lifted = time.perf_counter()
            painter.canvas.event_generate(event, x=x, y=y)
            due = max(due + INTERVAL, time.perf_counter())
        rates.append(shown[0] / len(painter.workers) / (lifted - start))
        wait_for_answers(painter)
        latencies.append(time.perf_counter() - lifted)
    return latencies, lateness, rates


def throughput(painter: Painter, drawings: list[list[np.ndarray]]) -> float:
    """Draw as fast as the window takes it, each stroke 20 times; return the pen events a second."""
    count, start = 0, time.perf_counter()
    for strokes in drawings:
        painter.clear()
        for event, x, y in events(painter, [np.concatenate([stroke] * 20) for stroke in strokes]):
            painter.canvas.event_generate(event, x=x, y=y)
            while painter.root.tk.dooneevent(DONT_WAIT):
                pass
            count += 1
    return count / (time.perf_counter() - start)


def show(name: str, seconds: list[float]) -> None:
    """Print the median, the 99th percentile and the maximum, in milliseconds."""
    median, p99, most = np.percentile(np.array(seconds) * 1000, [50, 99, 100])
    print(f"{name:45} median {median:.1f}  p99 {p99:.1f}  max {most:.1f} ms")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("drawings", metavar="FILE", help="recorded drawings, an .npz")
    strokes = load_drawings(parser.parse_args(argv).drawings).strokes
    drawings = [strokes[index] for index in np.random.default_rng(0).permutation(len(strokes))[:COUNT]]

    opened = [open_window() for _ in range(11)][1:]
    show("window open", [shown for shown, _ in opened])
    show("all models loaded and warm", [loaded for _, loaded in opened])
    painter = Painter()
    predict.register(painter)
    wait_for_answers(painter)
    if not any(card.state == "ready" for card in painter.workers.values()):
        raise InputError("no classifier has a model; train one, such as with python train_softmax.py.")
    latencies, lateness, rates = replay(painter, drawings)
    show("pen-up to answers", latencies)
    show("pen event late", lateness)
    print(f"{'answers while the pen is down':45} {np.median(rates):.0f} a second")
    print(f"{'pen events taken':45} {throughput(painter, drawings[:20]):.0f} a second")
    painter.register("Busy", Busy)
    wait_for_answers(painter)
    show("pen event late beside a busy classifier", replay(painter, drawings[:20])[1])
    painter.close()


if __name__ == "__main__":
    commandline.run(main)
