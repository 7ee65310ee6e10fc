"""The window with random events, many drawings, and closings while models load."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from digitpainter import Painter
from softmax import Softmax
from toolkit import learning

import harness
import numpy as np
from harness import Case

MOST_GROWTH = 20.0  # MB, of memory, between the first tenth of the events and the last one
KEYS = ("<Control-z>", "<Escape>", "<Key-a>", "<Return>", "<space>", "<Key-w>", "<Key-1>", "<Key-7>")
POINTER = ("<ButtonPress-1>", "<B1-Motion>", "<ButtonRelease-1>", "<Motion>", "<Button-4>", "<Button-5>")
POINTER += ("<ButtonPress-3>", "<ButtonRelease-3>", "<Leave>", "<Enter>")
WEIGHTS = (4, 60, 4, 5, 2, 2, 1, 1, 1, 1)


@contextlib.contextmanager
def screen() -> Iterator[bool]:
    """Start a virtual screen, and return whether there is one."""
    if shutil.which("Xvfb") is None:
        yield False
        return
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1366x768x24"]
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with open(reader) as pipe:
        os.environ["DISPLAY"] = f":{pipe.readline().strip()}"
    try:
        yield True
    finally:
        del os.environ["DISPLAY"]
        server.terminate()
        server.wait()


def model() -> Softmax:
    classifier = Softmax()
    classifier.weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)
    return classifier


def slow() -> Softmax:
    time.sleep(random.uniform(0, 0.3))
    return model()


@contextlib.contextmanager
def opened(*loads: Callable[[], Any]) -> Iterator[tuple[Painter, list[BaseException]]]:
    """Open a window; at the end close it, and check that no callback raised and no thread is left."""
    before = set(threading.enumerate())
    painter, errors = Painter(), []
    painter.root.report_callback_exception = lambda kind, error, trace: errors.append(error)
    for load in loads:
        painter.register("Model", load, source="here", command="python train_x.py")
    try:
        yield painter, errors
    finally:
        painter.close()
        for worker in painter.workers:
            if worker.ident is not None:  # models load in turn: the last ones may never have begun
                worker.join(harness.WALL_SECONDS)
    if errors:
        raise errors[0]
    left = set(threading.enumerate()) - before
    assert not left, f"threads are left: {left}"


def until(painter: Painter, done: Callable[[], bool]) -> None:
    end = time.monotonic() + harness.WALL_SECONDS
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        painter.root.update()
        time.sleep(0.001)


def flat_memory(count: int) -> Callable[[int], None]:
    """Return what is called with each number below `count`, and raises when memory grows."""
    marks: list[float] = []

    def mark(number: int) -> None:
        if number in (count // 5, count - 1):
            gc.collect()
            marks.append(harness._status("VmRSS"))
            assert marks[-1] - marks[0] < MOST_GROWTH, f"memory grew by {marks[-1] - marks[0]:.0f} MB"

    return mark


def random_events(count: int) -> str:
    rng, mark = random.Random(0), flat_memory(count)
    with opened(model, slow, lambda: 1 / 0) as (painter, errors):
        learning.Lessons(painter, Path("corrections.npz"))
        painter.root.update()
        side = painter.canvas.winfo_width()
        painter.canvas.focus_force()
        for number in range(count):
            if rng.random() < 0.02:
                painter.canvas.event_generate(rng.choice(KEYS))
            else:
                low, high = (-side, 2 * side) if rng.random() < 0.1 else (0, side)
                x, y = rng.randint(low, high), rng.randint(low, high)
                painter.canvas.event_generate(rng.choices(POINTER, WEIGHTS)[0], x=x, y=y)
            if rng.random() < 0.002:
                painter.root.geometry(f"{rng.randint(1, 1500)}x{rng.randint(1, 900)}")
            if number % 50 == 0:
                painter.root.update()
            assert not errors, errors
            mark(number)
    return "valid"


def many_drawings(count: int) -> str:
    rng, mark = random.Random(0), flat_memory(count)
    with opened(model) as (painter, _):
        until(painter, lambda: not painter.waiting)
        side = painter.canvas.winfo_width()
        for number in range(count):
            painter.clear()
            for index in range(rng.randint(2, 12)):
                event = "<B1-Motion>" if index else "<ButtonPress-1>"
                painter.canvas.event_generate(event, x=rng.randrange(side), y=rng.randrange(side))
            painter.canvas.event_generate("<ButtonRelease-1>", x=side // 2, y=side // 2)
            until(painter, lambda: not painter.waiting)
            mark(number)
    return "valid"


def closing() -> str:
    with opened(slow, slow, lambda: 1 / 0) as (painter, _):
        end = time.monotonic() + random.uniform(0, 0.3)
        while time.monotonic() < end:
            painter.root.update()
    return "valid"


def cases(events: int) -> Iterator[Case]:
    yield f"{events} events", lambda: random_events(events)
    yield f"{events // 10} drawings", lambda: many_drawings(events // 10)
    for number in range(max(3, events // 1000)):
        yield f"closing {number}", closing


def run(folder: Path, count: int) -> list[str]:
    with screen() as there:
        if not there:
            print("window     left out: no Xvfb")
            return []
        harness.WALL_SECONDS = 3600.0
        try:
            return harness.run_cases("window", cases(count), seconds=3600)
        finally:
            harness.WALL_SECONDS = 60.0
