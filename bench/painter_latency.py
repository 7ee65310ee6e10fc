"""Measure how long the painter takes from pen-up to every answer, and whether the pen stutters.

    python bench/painter_latency.py pendigits.npz      # on this display; Xvfb will do

Replays 200 real drawings as window events, one every 8 ms, in the window that `predict.py` opens. It prints

- for each drawing, the time from the event that lifts the pen last until the display server has drawn every
  answer;
- for each pen event, how late the window got to it: with these classifiers alone, and beside one more that
  computes in Python for half a second an answer.
"""

from __future__ import annotations

import sys
import time
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
from toolkit.painting import BOX

COUNT = 200  # drawings
INTERVAL = 0.008  # s between two pen events


class Busy:
    """Computes in Python for half a second and answers 0: the hardest neighbour for the window's thread."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass
        return np.eye(10, dtype=np.float32)[0]


def wait_for_answers(painter: Painter) -> None:
    """Run the window until every awaited answer is on the screen."""
    painter.when_answered = painter.root.quit
    painter.root.mainloop()
    painter.when_answered = None
    painter.root.winfo_pointerxy()  # the display server answers when it has drawn what came before


def replay(painter: Painter, drawings: list[list[np.ndarray]]) -> tuple[list[float], list[float]]:
    """Draw at the pace of a pen.

    Returns
    -------
    For each drawing the seconds from pen-up to the last answer, and for each pen event how late it was.
    """
    latencies, lateness = [], []
    for strokes in drawings:
        painter.clear()
        due = time.perf_counter() + 0.02
        for stroke in strokes:
            events = ["<ButtonPress-1>", *["<B1-Motion>"] * (len(stroke) - 1), "<ButtonRelease-1>"]
            for event, point in zip(events, [*stroke, stroke[-1]], strict=True):
                painter.root.after(max(0, round((due - time.perf_counter()) * 1000)), painter.root.quit)
                painter.root.mainloop()
                # Tk's timers have whole milliseconds: only what goes beyond one is lateness.
                lateness.append(max(0.0, time.perf_counter() - due - 0.001))
                lifted = time.perf_counter()
                x, y = np.rint(point * (painter.canvas.winfo_width() / BOX)).astype(int).tolist()
                painter.canvas.event_generate(event, x=x, y=y)
                due = max(due + INTERVAL, time.perf_counter())
        wait_for_answers(painter)
        latencies.append(time.perf_counter() - lifted)
    return latencies, lateness


def show(name: str, seconds: list[float]) -> None:
    """Print the median, the 99th percentile and the maximum, in milliseconds."""
    median, p99, most = np.percentile(np.array(seconds) * 1000, [50, 99, 100])
    print(f"{name:45} median {median:.1f}  p99 {p99:.1f}  max {most:.1f} ms")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("drawings", metavar="FILE", help="recorded drawings, an .npz")
    strokes = load_drawings(parser.parse_args(argv).drawings).strokes
    drawings = [strokes[index] for index in np.random.default_rng(0).permutation(len(strokes))[:COUNT]]

    start = time.perf_counter()
    painter = Painter()
    for kind, name in predict.CLASSIFIERS.items():
        painter.register(name, partial(predict.load, kind), source=predict.source(kind))
    wait_for_answers(painter)
    print(f"{'all models loaded':45} {(time.perf_counter() - start) * 1000:.0f} ms")
    if not any(card.state == "ready" for card in painter.workers.values()):
        raise InputError("no classifier has a model; train one, such as with python train_softmax.py.")
    latencies, lateness = replay(painter, drawings)
    show("pen-up to answers", latencies)
    show("pen event late", lateness)
    painter.register("Busy", Busy)
    wait_for_answers(painter)
    show("pen event late beside a busy classifier", replay(painter, drawings[:20])[1])
    painter.close()


if __name__ == "__main__":
    commandline.run(main)
