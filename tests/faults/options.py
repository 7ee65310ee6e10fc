"""Senseless options, and outputs that cannot be written: exit status 0, or 2 with one sentence."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from classifier import Classifier
from toolkit import commandline, datasets, drawings, sweep, training, trials

import harness
import numpy as np
import toy_sweep
from harness import Case

VALUES = [
    "",
    " ",
    "-1",
    "0",
    "1",
    "3",
    "0.5",
    "-0.0",
    "1e-320",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "9" * 5000,
]
VALUES += ["abc", "é😀", "\udcff", "$x_1$", "a b", "1,2", ",", "1,,x", "-1,2", "--", "-", "%s", "{}", "\n"]
VALUES += ["/", ".", "..", "../x", "/dev/null", "/dev/full", "no/such/place.npz", "x" * 5000, "0x10", "1_0"]
MANY = ",".join(["4"] * 100)
SCRIPTS = {
    **{f"train_{kind}": ["--dataset", "digits", "--limit", "12", "--quiet"] for kind in ("softmax", "ann")},
    "train_svm": ["--dataset", "digits", "--limit", "30", "--quiet", "--pca", "0", "--jobs", "1"],
    **{
        f"test_{kind}": ["--dataset", "digits", "--limit", "12", "--quiet"]
        for kind in ("softmax", "ann", "svm")
    },
    "train_detector": ["--dataset", "digits", "--limit", "12", "--quiet", "--drawings", "set.npz"],
    "predict": ["picture.png"],
    "capture": ["--output", "set.npz", "--export", "pictures"],
    "toolkit.augment": ["--dataset", "digits", "--limit", "12"],
    "toolkit.datasets": [],
    **{f"sweep_{kind}": ["--dataset", "digits", "--limit", "12", "--quiet"] for kind in ("ann", "svm")},
    "pareto": [],
    "report": ["--dataset", "digits", "--limit", "12", "--results", "none", "--quiet"],
    "experiments.augmentation": ["--dataset", "digits", "--limit", "12", "--drawn", "set.npz", "--quiet"],
}
SHORTER = {
    "train_softmax": ["--epochs", "1"],
    "train_ann": ["--epochs", "1", "--conv-channels", "2", "--hidden", "3"],
}


def parser_of(main: Callable[..., Any]) -> argparse.ArgumentParser:
    """Return the parser that a script builds."""

    class Built(Exception):
        pass

    def parse_args(self: argparse.ArgumentParser, *_: object) -> None:
        raise Built(self)

    original, commandline.Parser.parse_args = commandline.Parser.parse_args, parse_args
    try:
        main([])
    except Built as built:
        return built.args[0]
    finally:
        commandline.Parser.parse_args = original
    raise AssertionError("the script has no parser")


def prepare(folder: Path) -> None:
    """Put a picture and a set of drawings into the folder that scripts run in."""
    harness.import_all()
    from PIL import Image, ImageDraw

    picture = Image.new("L", (60, 80), 255)
    ImageDraw.Draw(picture).line([(15, 10), (45, 10), (30, 70)], fill=0, width=6)
    picture.save(folder / "picture.png")
    strokes = [[np.array([[0.1, 0.1], [0.9, 0.2]]), np.array([[0.5, 0.5]])] for _ in range(10)]
    images = np.zeros((10, 28, 28), dtype=np.uint8)
    writers, times = np.array(["me"] * 10), np.arange(10)
    drawings.save_drawings(
        folder / "set.npz", drawings.Drawings(strokes, np.arange(10), writers, images=images, times=times)
    )


def run(folder: Path, count: int | None) -> list[str]:
    prepare(folder)
    training.ROOT = folder  # where an empty --output leads
    sweep.work(toy_sweep.SEARCH, sweep.Settings(trials=2, quiet=True))  # for pareto.py and --from-trial
    sweep._supervise = lambda search, settings: None  # no worker processes
    trials.ATTEMPTS = 2
    cases = list(option_cases())
    if count is not None and count < len(cases):
        chosen = np.random.default_rng(0).permutation(len(cases))[:count]
        cases = [cases[index] for index in sorted(chosen)]
    # A valid option starts work, which may be long.
    return harness.run_cases("options", cases, late="still at work")


def option_cases() -> Iterator[Case]:
    """Yield every option of every script with every value, and without one."""
    folders = ("", "toolkit", "experiments")
    paths = [path for folder in folders for path in (harness.ROOT / folder).glob("*.py")]
    scripts = [path for path in paths if "commandline.run(main)" in path.read_text()]
    names = {".".join(path.relative_to(harness.ROOT).with_suffix("").parts) for path in scripts}
    assert names == set(SCRIPTS), f"options of {names ^ set(SCRIPTS)} are not tried"
    for script, base in SCRIPTS.items():
        main = importlib.import_module(script).main
        base = base + SHORTER.get(script, [])
        program = script.rpartition(".")[2] + ".py"

        def case(*words: str, main: Callable[..., Any] = main, program: str = program) -> Callable[[], str]:
            return lambda: harness.run_script(main, program, *words)

        for action in parser_of(main)._actions:
            flags = action.option_strings[-1:]
            if action.nargs == 0 or "--help" in flags:
                continue
            yield f"{script} {' '.join(flags)}", case(*base, *flags)
            for value in (*VALUES, MANY):
                given = [f"{flags[0]}={value}"] if flags else [value]
                yield f"{script} {given[0]!r:.60}", case(*base, *given)
    ann = importlib.import_module("train_ann").main
    for words in (["--limit", "1"], ["--limit", "2"], ["--limit", "1", "--batch-size", "2"]):
        line = ["--dataset", "digits", "--hidden", "8", "--conv-channels=", "--epochs", "1", *words]
        yield f"train_ann {' '.join(words)}", lambda line=line: harness.run_script(ann, "train_ann.py", *line)


# Outputs


class WorkBegan(Exception):
    """Data or a model was read before the output was found wanting."""


def run_outputs(folder: Path, count: int | None) -> list[str]:
    """Ask every script for outputs that cannot be written."""
    prepare(folder)
    os.mkfifo(folder / "pipe")
    (folder / "file").touch()
    (folder / "directory.png").mkdir()
    folder.chmod(0o777)
    (folder / "locked").mkdir(mode=0o555)
    for name in ("locked/old.png", "locked/old.safetensors"):
        (folder / name).touch()

    def began(*_: object, **__: object) -> None:
        raise WorkBegan

    saved = Classifier.load, datasets.load, drawings.load_drawn
    Classifier.load = datasets.load = drawings.load_drawn = began  # type: ignore[assignment, method-assign]
    try:
        return harness.run_cases("outputs", list(output_cases()))
    finally:
        Classifier.load, datasets.load, drawings.load_drawn = saved  # type: ignore[method-assign]


def output_cases() -> Iterator[Case]:
    files = [
        "pipe",
        "directory.png",
        "/dev/full",
        "/dev/null",
        "file/inside.png",
        "locked/new.png",
        "/proc/new.png",
    ]
    files += ["locked/deeper/new.png", "x" * 300 + ".png"]
    folders = ["pipe", "file", "/dev/full", "file/inside", "locked/new", "locked", "/proc/new", "x" * 300]
    asked = {
        **{(f"train_{kind}", "--output"): files for kind in ("softmax", "ann", "svm")},
        **{(f"test_{kind}", "--json"): files for kind in ("softmax", "ann", "svm")},
        **{(f"test_{kind}", "--output"): folders for kind in ("softmax", "ann", "svm")},
        ("toolkit.augment", "--output"): files,
        ("capture", "--export"): folders,
        ("capture", "--output"): files,
    }
    for (script, flag), places in asked.items():
        main = importlib.import_module(script).main
        base = [] if script == "capture" else ["--dataset", "digits", "--limit", "12"]
        if script == "capture":
            base = ["--output", "set.npz"] if flag == "--export" else ["--import", "set.npz"]
        program = script.replace("toolkit.", "") + ".py"
        for place in places:
            if script == "capture" and place in ("", "/dev/null"):
                continue

            def case(
                main: Any = main, program: str = program, line: tuple[str, ...] = (*base, flag, place)
            ) -> str:
                with _as_nobody():
                    ending = harness.run_script(main, program, *line)
                assert ending == "refused", "it was not refused"
                return ending

            yield f"{script} {flag} {place:.40}", case


class _as_nobody:
    """Run a block as a user for whom a read-only folder is one; the superuser may write everywhere."""

    def __enter__(self) -> None:
        self.superuser = os.getuid() == 0
        if self.superuser:
            os.setresuid(65534, 65534, 0)

    def __exit__(self, *_: object) -> None:
        if self.superuser:
            os.setresuid(0, 0, 0)
