"""What the benchmarks share: their settings, fresh processes, the machine, and how a result is written."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import commandline, datasets, files, tracking

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"


@dataclass(frozen=True)
class Settings:
    """How much is measured; the defaults are the benchmark that is published."""

    data: str | None = None  # where MNIST is
    dataset: str = datasets.DEFAULT
    limit: int | None = None  # images of each split
    drawn: str = str(ROOT / "drawings" / "pendigits.npz")
    repeats: int = 3  # of what takes less than a minute
    recipe_epochs: int = 4
    sizes: tuple[int, ...] = (7_500, 15_000, 30_000, 60_000)  # images that the models are fitted on
    copies: int = 3  # variants of each image, added to the largest of these sizes
    steps: int = 60  # batches of 128 that are timed together
    trials: int = 8  # that the sweep's workers train
    free_trials: int = 100  # that cost nothing to train

    def flags(self) -> list[str]:
        """Return the flags that say which data."""
        where = ["--data", self.data] if self.data else []
        return [*where, "--dataset", self.dataset, *(["--limit", str(self.limit)] if self.limit else [])]

    def load(self, split: str) -> datasets.ImageSet:
        """Load a split, as `toolkit.datasets.load`."""
        return datasets.load(split, dataset=self.dataset, data=self.data, limit=self.limit)


# Small enough for a test: it shows that every part runs, and its figures mean nothing.
QUICK = Settings(
    dataset="digits",
    limit=220,
    repeats=1,
    sizes=(220, 300),
    copies=1,
    steps=2,
    trials=1,
    free_trials=1,
)


def run(
    *words: object, folder: str | os.PathLike[str], timeout: float = 900, before: Sequence[str] = ()
) -> str:
    """Run a Python script in a fresh process, in a folder of its own. Returns what it prints.

    The words in `before` come before Python's in the command. Raises subprocess.SubprocessError when the
    script fails or takes longer than `timeout` seconds.
    """
    command = [*before, sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, timeout=timeout
    ).stdout


def one_training(model: str, *words: object, folder: str, timeout: float = 900) -> dict[str, Any]:
    """Run `one_training.py` in a fresh process. Returns what it measured."""
    return json.loads(run(BENCH / "one_training.py", model, *words, folder=folder, timeout=timeout))


def write_mnist(folder: str, settings: Settings) -> None:
    """Write the data where torchvision's `MNIST(folder)` finds it."""
    raw = Path(folder) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, (image_file, label_file, _) in datasets.MNIST_FILES.items():
        part = settings.load("all" if split == "train" else "test")
        for name, array in ((image_file, part.images), (label_file, part.labels.astype("uint8"))):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
            (raw / name).write_bytes(header + array.tobytes())


def memory(entry: str) -> float:
    """Return the memory of this process in MB: "VmRSS" now, "VmHWM" at its peak. Linux only.

    The peak that `resource.getrusage` gives may be that of the process which started this one.
    """
    found = re.search(rf"{entry}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def forget_peak() -> None:
    """Let "VmHWM" count from now on, where Linux allows that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def machine() -> dict[str, str]:
    """Return the machine, the system and the versions, as the page shows them."""
    at = tracking.environment()
    try:
        has_amx = "yes" if "amx_tile" in Path("/proc/cpuinfo").read_text() else "no"
    except OSError:
        has_amx = "unknown"
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = files.versions("torch", "torchvision", "scikit-learn", "numpy")
    return {
        "processor": at["processor"],
        "cores": str(commandline.processors()),
        "AMX": has_amx,
        "memory": f"{gigabytes:.0f} GB",
        "system": platform.platform(),
        **versions,
    }


def work_of_others() -> float:
    """Return how much of the processors other programs use, 0 to 1, during a second. Linux only."""

    def ticks() -> tuple[int, int]:
        numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # all; idle and waiting for a disk

    try:
        before = ticks()
        time.sleep(1)
        after = ticks()
    except OSError:
        return float("nan")
    return 1 - (after[1] - before[1]) / max(1, after[0] - before[0])


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Write the median and, of several values, the range."""
    digits = 0 if statistics.median(values) >= 100 else 2 if statistics.median(values) < 1 else 1
    text = f"{statistics.median(values):,.{digits}f} {unit}"
    if len(values) == 1:
        return f"{text} (once)"
    return f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f}; {len(values)} times)"


def table(*rows: Sequence[object]) -> str:
    """Write rows as Markdown; the first one is the head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
