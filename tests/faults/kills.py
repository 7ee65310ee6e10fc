"""SIGKILL and Ctrl-C at any moment: every file is whole, what was confirmed is there, and work goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from toolkit import trials

import harness
import numpy as np
import stages
from harness import Case

KILLED = ("train softmax", "sweep", "capture", "report")


def strike(stage: str, sent: signal.Signals, delay: float, folder: Path, truth: dict[str, np.ndarray]) -> str:
    """Start a stage, send it a signal after a while, and check what it leaves."""
    folder.mkdir()
    for given in Path().glob("*"):
        if given.name.startswith(("given", "set")):
            os.symlink(given.resolve(), folder / given.name)
    process = stages.start(stage, folder)
    try:
        output, errors = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        if sent == signal.SIGKILL:
            process.kill()
        else:  # as a terminal does, to the whole group
            os.killpg(process.pid, sent)
        output, errors = process.communicate(timeout=harness.WALL_SECONDS)
    # Until our code is there, a tenth of a second, Ctrl-C is Python's own affair.
    python_s = errors.rstrip().endswith("KeyboardInterrupt") or process.returncode == -signal.SIGINT
    early = sent == signal.SIGINT and python_s
    assert early or "Traceback" not in errors, f"a traceback: {errors[-300:]!r}"
    expected = (0, -signal.SIGKILL) if sent == signal.SIGKILL else (0, 130, *([1, -2] if early else []))
    assert process.returncode in expected, f"exit status {process.returncode}: {errors[-300:]!r}"
    stages.check_files(folder)
    if stage == "train softmax":
        arrays = stages.resumed(folder)
        assert all(np.array_equal(arrays[name], truth.get(name, arrays[name])) for name in arrays), (
            "other arrays"
        )
    elif stage == "sweep":
        stages.check_sweep(folder, output)
    elif stage == "capture":
        stages.check_capture(folder, output)
    if early:
        return "SIGINT before our code"
    return "done before" if process.returncode == 0 else f"ended by {sent.name}"


def cases(folder: Path, count: int) -> Iterator[Case]:
    stages.prepare(folder)
    spans, truth = {}, {}
    for stage in KILLED:
        began, own = time.monotonic(), folder / f"whole {stage}"
        assert strike(stage, signal.SIGINT, harness.WALL_SECONDS, own, {}) == "done before"
        spans[stage] = time.monotonic() - began
        if stage == "train softmax":
            truth = stages.resumed(own)
    rng = np.random.default_rng(0)
    for number in range(count):
        for sent in (signal.SIGKILL, signal.SIGINT):
            stage = KILLED[number % len(KILLED)]
            delay = float(rng.uniform(0, spans[stage]))
            own = folder / f"{sent.name}-{number}"
            case: Callable[[], str] = partial(strike, stage, sent, delay, own, truth)
            yield f"{sent.name} after {delay:.2f} s: {stage} {number}", case


def run(folder: Path, count: int) -> list[str]:
    """Send each of the two signals `count` times."""
    harness.import_all()
    trials.HEARTBEAT, trials.GRACE = 0.3, 1.8
    return harness.run_cases("kills", cases(folder, count), seconds=20)
