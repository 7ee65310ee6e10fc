"""What the parts of the campaign share: damage, limits, and the check of how a case ended."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["OMP_NUM_THREADS"] = "1"
for name in ("WANDB_API_KEY", "DISPLAY", "MNIST_DIR"):
    os.environ.pop(name, None)

from toolkit import commandline, datasets  # noqa: E402
from toolkit.files import InputError  # noqa: E402

CPU_SECONDS, WALL_SECONDS, MEGABYTES = 2.0, 120.0, 1000  # of a case, at most
MOST_MEMORY = 6_000_000_000  # bytes of the campaign: a case that asks for more is a fault, and not its end
Case = tuple[str, Callable[[], str]]  # its name, and what runs it: returns "valid" or "refused"

LIBRARIES = (
    "torch.backends.mps",
    "torch._dynamo",
    "sklearn.svm",
    "scipy.optimize",
    "matplotlib.figure",
    "optuna",
)


class OverLimit(BaseException):
    """A case took too long. Nothing but the campaign catches it."""


# Damage

DEEP, HUGE = "@deep@", "@huge@"  # what json.dumps cannot write itself
HOSTILE: list[Any] = [None, True, False, -1, 0, 1, 2, 3.5, 10**6, 10**30, -(10**30), 1e308, -1e308, 1e-320]
HOSTILE += [float("nan"), float("inf"), "", "abc", "é😀", "\ud800", "$x_1$", "x" * 10_000, "../x", "/", "0"]
HOSTILE += [[], [1], ["a"], [None], [[1]], [-1, 10**9], {}, {"a": 1}, DEEP, HUGE]


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip, overwrite, cut, insert or repeat some bytes of a file, every second time near its start."""
    data = bytearray(content)

    def place() -> int:
        span = len(data) if rng.random() < 0.5 else min(len(data), 600)
        return int(rng.integers(span)) if span else 0

    for _ in range(int(rng.integers(1, 4))):
        start, length = place(), int(2 ** rng.uniform(0, 12))
        kind = rng.integers(7)
        if kind == 0 and data:
            data[start] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[start : start + length] = rng.bytes(min(length, len(data) - start))
        elif kind == 2:
            del data[start : start + length]
        elif kind == 3:
            data[start:start] = rng.bytes(length)
        elif kind == 4:
            data[start:start] = data[start : start + length]
        elif kind == 5:
            data[start : start + 8] = rng.choice([b"\0", b"\xff", b"\x7f", b"0", b"9"]) * 8
        else:
            del data[start:]
    return bytes(data)


def damage_json(value: Any, rng: np.random.Generator) -> Any:
    """Replace, remove or add an entry somewhere inside a JSON value."""
    inner = isinstance(value, (dict, list)) and len(value) > 0
    if not inner or rng.random() < 0.05:
        return HOSTILE[rng.integers(len(HOSTILE))]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    key = list(value)[rng.integers(len(value))] if isinstance(value, dict) else int(rng.integers(len(value)))
    kind = rng.random()
    if kind < 0.1:
        del copy[key]
    elif kind < 0.15 and isinstance(copy, dict):
        copy[f"new-{key}"] = copy[key]
    elif kind < 0.5:
        copy[key] = HOSTILE[rng.integers(len(HOSTILE))]
    else:
        copy[key] = damage_json(copy[key], rng)
    return copy


def to_json(value: Any) -> str:
    """Write a JSON value, with the lists that are nested too deeply and the numbers that are too long."""
    text = json.dumps(value)
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).replace(f'"{HUGE}"', "9" * 5000)


def damage_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change some values, the shape or the type of an array."""
    if array.dtype.kind == "U":
        return np.array(["", "é😀", "a" * 1000, "../x"] * len(array))[: len(array) + int(rng.integers(2))]
    kind = rng.integers(6)
    if kind < 3 and array.size:
        values = np.array(array)
        np.seterr(over="ignore", invalid="ignore")
        extremes = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 0, -1]
        if not np.issubdtype(array.dtype, np.floating):
            extremes = [0, 1, 9, 10, 100]
        some = rng.integers(values.size, size=int(rng.integers(1, 1 + min(values.size, 1000))))
        if rng.random() < 0.2:
            values[...] = rng.choice(extremes)
        else:
            values.flat[some] = rng.choice(extremes, size=len(some))
        return values
    if kind == 3:
        return array.astype(rng.choice([np.float16, np.float64, np.int8, np.int64, np.bool_, np.uint16]))
    if kind == 4 and array.ndim:
        return array[: int(rng.integers(len(array) + 1))]
    return [array.reshape(-1), array[None], np.zeros(()), np.zeros((0, 3), array.dtype)][rng.integers(4)]


# Endings


def refuses(kind: type[InputError], action: Callable[[], object]) -> str:
    """Return "refused" when an action raises the given error with one sentence, else "valid"."""
    try:
        action()
    except kind as error:
        if not str(error).strip():
            raise ValueError("refused without a sentence") from error
        return "refused"
    return "valid"


def run_script(main: Callable[..., Any], program: str, *words: object) -> str:
    """Run a script's `main` as its command line does. Return "valid" for 0, "refused" for 2 with a line."""
    output, errors = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, [program, *map(str, words)]
    status: object = None
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            commandline.run(main)
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv = argv
    text = errors.getvalue().strip()
    assert status in (0, 2), f"exit status {status}: {text}"
    if status == 0:
        return "valid"
    # Skipped pictures are named on lines of their own, before the sentence.
    lines = [line for line in text.split("\n") if not line.startswith(("Left out: ", "Weights & Biases"))]
    assert len(lines) == 1, f"no single sentence: {text!r}"
    assert lines[0].startswith(f"{program}: error: "), f"no sentence of ours: {text!r}"
    return "refused"


def in_child(action: Callable[[], str]) -> str:
    """Run an action in a copy of this process, which has all its imports, and return what it returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            text = action()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}\n{traceback.format_exc()[-600:]}"
        os.write(writer, text.encode(errors="backslashreplace"))
        os._exit(0)
    os.close(writer)
    try:
        with open(reader, errors="replace") as pipe:
            text = pipe.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert text in ("valid", "refused"), text or "the process died"
    return text


@contextlib.contextmanager
def limits(seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Raise OverLimit in a case that takes too long; after one that took too much memory, AssertionError."""

    def stop(number: int, frame: object) -> None:
        raise OverLimit(f"more than {seconds} s of CPU, or {WALL_SECONDS} s in all")

    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGALRM, stop)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory starts again
    before = _status("VmRSS")
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    except OverLimit:
        _check_memory(before)
        raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    _check_memory(before)


def _check_memory(before: float) -> None:
    used = _status("VmHWM") - before
    assert used < MEGABYTES, f"it took {used:.0f} MB"


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def prepare() -> None:
    """Keep cases from starting a download or taking all memory, and the disk from deciding the time."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    datasets._download = lambda folder: "no network"
    os.fsync = lambda descriptor: None


def import_all() -> None:
    """Import what is slow: an import that is over a limit, or not allowed, would spoil the later cases."""
    for library in LIBRARIES:
        importlib.import_module(library)


def run_cases(part: str, cases: Iterable[Case], *, late: str = "", seconds: float = CPU_SECONDS) -> list[str]:
    """Run cases, print their counts, and return a line for each that ended wrongly.

    `late` names the ending of a case that is over its time, for parts in which work that is asked for begins.
    `seconds` of CPU are a case's, more where what is valid takes more.
    """
    counts: Counter[str] = Counter()
    faults: dict[str, str] = {}
    for name, case in cases:
        try:
            with limits(seconds):
                ending = case()
        except BaseException as error:
            if isinstance(error, OverLimit) and late:
                counts[late] += 1
                continue
            if isinstance(error, KeyboardInterrupt):
                raise
            ending = "FAULTS"
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            what = f"{type(error).__name__} at {where}: {error!s:.900}"
            if what not in faults:  # at once: a long campaign may be stopped
                print(f"  {name}: {what}".encode("ascii", "backslashreplace").decode(), flush=True)
            faults.setdefault(what, name)
        counts[ending] += 1
    total = f"{sum(counts.values()):,}"
    print(f"{part:10} {total:>7} cases: " + ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items())))
    return [f"{part}, case {name}: {what}" for what, name in faults.items()]
