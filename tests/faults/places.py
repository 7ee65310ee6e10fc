"""A disk that is full or read-only, a folder that disappears, a clock that jumps back: at every stage."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import harness
import numpy as np
import stages
from harness import Case

FREE = 400_000  # bytes that a full disk has left at most, before the stage begins
# Read by Python as it starts: from then on, the clock jumps back by an hour.
JUMPING = """
import datetime, time
began, clock, strftime = time.monotonic(), time.time, time.strftime
def now():
    return clock() - (3600 if time.monotonic() - began > {delay} else 0)
class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(now(), tz)
time.time, datetime.datetime = now, Jumping
time.strftime = lambda text, when=None: strftime(text, when or time.localtime(now()))
"""


def mounted(place: Path) -> bool:
    """Mount a small disk in memory. Returns False for whoever may not."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "faults", str(place)]
    return not subprocess.run(command, capture_output=True).returncode


def rob(trouble: str, place: Path, rng: np.random.Generator, span: float) -> None:
    """Take the disk away: at once, or, when the folder disappears, somewhere in the next `span` seconds."""
    if trouble == "full":
        disk = os.statvfs(place)
        with open(place / "filler", "wb") as file:
            os.posix_fallocate(
                file.fileno(), 0, max(1, disk.f_bavail * disk.f_bsize - int(rng.integers(FREE)))
            )
    elif trouble == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    elif trouble == "gone":
        timer = threading.Timer(float(rng.uniform(0, span)), shutil.rmtree, [place, True])
        timer.daemon = True
        timer.start()


def here(stage: str) -> str:
    """Run a stage in this process and the current folder."""
    script, words = stages.STAGES[stage]
    if stage == "capture":
        return harness.run_script(stages.draw, "capture.py")
    description = importlib.util.spec_from_file_location(Path(script).stem, harness.ROOT / script)
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    sys.modules[description.name] = module
    description.loader.exec_module(module)
    return harness.run_script(module.main, Path(script).name, *words)


def apart(stage: str, place: Path) -> str:
    """Run a stage in a process of its own."""
    process = stages.start(stage, place)
    _, errors = process.communicate(timeout=harness.WALL_SECONDS)
    lines = [line for line in errors.splitlines() if line.strip()]
    assert process.returncode in (0, 2), f"exit status {process.returncode}: {errors[-300:]!r}"
    assert len(lines) == (process.returncode == 2), f"no single sentence: {errors[-600:]!r}"
    return "valid" if process.returncode == 0 else "refused"


def case(stage: str, trouble: str, number: int, source: Path, place: Path, span: float) -> str:
    """Run a stage in a robbed folder, and check what is left there."""
    place.mkdir()
    try:
        if trouble in ("full", "read-only") and not mounted(place):
            return "skipped: no right to mount"
        shutil.copytree(source, place, dirs_exist_ok=True)
        rng = np.random.default_rng([number, len(trouble)])

        def work() -> str:
            rob(trouble, place, rng, span)
            os.chdir(place)
            return here(stage)

        if stage == "sweep":
            rob(trouble, place, rng, span)
            ending = apart(stage, place)
        else:
            ending = harness.in_child(work)
        stages.check_files(place)
        return ending
    finally:
        subprocess.run(["umount", str(place)], capture_output=True)
        shutil.rmtree(place, ignore_errors=True)


def clock(stage: str, source: Path, place: Path, span: float) -> str:
    """Run a stage while Python's clock jumps back by an hour. SQLite's own clock does not."""
    shutil.copytree(source, place)
    try:
        (place / "sitecustomize.py").write_text(JUMPING.format(delay=span / 2))
        ending = apart(stage, place)
        assert ending == "valid", "it was refused"
        stages.check_files(place)
        return ending
    finally:
        shutil.rmtree(place, ignore_errors=True)


def cases(folder: Path, count: int) -> Iterator[Case]:
    source, place = folder / "source", folder / "disk"
    source.mkdir()
    os.chdir(source)
    stages.prepare(source)
    os.chdir(folder)
    made: list[tuple[str, Callable[[], str]]] = []
    spans: dict[str, float] = {}
    for stage in stages.STAGES:
        began = time.monotonic()
        assert case(stage, "none", 0, source, place, 0) == "valid", stage
        spans[stage] = time.monotonic() - began
    for number in range(-(-count // len(stages.STAGES))):
        for stage in stages.STAGES:
            for trouble in ("full", "read-only", "gone"):
                if trouble == "read-only" and number:  # no two of these differ
                    continue
                one = partial(case, stage, trouble, number, source, place, spans[stage])
                made.append((f"{trouble}: {stage} {number}", one))
            if number == 0:
                made.append((f"clock: {stage}", partial(clock, stage, source, place, spans[stage])))
    if count < len(made):
        chosen = np.random.default_rng(0).permutation(len(made))[:count]
        made = [made[index] for index in sorted(chosen)]
    yield from made


def run(folder: Path, count: int) -> list[str]:
    harness.import_all()
    return harness.run_cases("places", cases(folder, count), seconds=20)
