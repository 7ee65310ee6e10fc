"""Corrections: drawings that a person labelled in the window, with what each classifier had read.

They are a set of recorded drawings (`toolkit/drawings.py`), so that `--drawings captured/corrections.npz`
trains on them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from classifier import ROOT
from toolkit import drawings
from toolkit.drawings import Drawings
from toolkit.framing import frame_strokes

import numpy as np

PATH = ROOT / "captured" / "corrections.npz"
WRITER = "me"


def add(path: Path, strokes: Sequence[np.ndarray], label: int, said: Mapping[str, int]) -> Drawings:
    """Save a labelled drawing at once; return all corrections. Labelled again, it gets the new label.

    Parameters
    ----------
    strokes : (k, 2) each.
    label : what was drawn, 0 to 9.
    said : what each classifier read, by its name.

    Raises OSError or InputError if the file cannot be read or written. Then nothing is saved.
    """
    one = Drawings(
        strokes=[list(strokes)],
        labels=np.array([label]),
        writers=np.array([WRITER]),
        images=frame_strokes(strokes)[None],
        times=np.array([int(time.time())]),
        said=np.array([json.dumps(dict(said))]),
    )
    return drawings.add(path, one, again=True)


def tallies(corrections: Drawings, day: datetime | None = None) -> dict[str, tuple[int, int]]:
    """Return how many drawings of a day (by default today) each classifier read right, and of how many."""
    first = (day or datetime.now()).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    found: dict[str, tuple[int, int]] = {}
    if corrections.times is None or corrections.said is None:
        return found
    recent = (corrections.times >= first) & (corrections.times < first + 24 * 60 * 60)
    for label, text in zip(corrections.labels[recent], corrections.said[recent], strict=True):
        for name, digit in _read(str(text)).items():
            right, count = found.get(name, (0, 0))
            found[name] = right + int(digit == label), count + 1
    return found


def _read(text: str) -> dict[str, int]:
    """Read what classifiers said; {} if it is damaged, since only a count depends on it."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: digit for name, digit in said.items() if type(digit) is int} if type(said) is dict else {}
