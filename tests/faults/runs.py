"""Damaged folders of runs: `--resume` trains on to a model that loads, or says one sentence."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import train_ann
import train_softmax
from ann import ANN
from classifier import Classifier
from softmax import Softmax
from toolkit import files, tracking, training

import harness
import numpy as np
from harness import Case, damage, damage_array, damage_json, to_json

BASE = ["--dataset", "digits", "--limit", "20", "--epochs", "2", "--quiet", "--wandb", "disabled"]
TRAININGS: dict[str, tuple[Any, type[Classifier], list[str]]] = {
    "softmax": (train_softmax.main, Softmax, []),
    "ann": (train_ann.main, ANN, ["--conv-channels", "2", "--hidden", "3", "--batch-size", "5"]),
}


def interrupted_runs(folder: Path) -> dict[str, Path]:
    """Return, for each training, the folder of a run that was stopped after the first of its two epochs."""
    log, found = tracking.Run.log, {}

    def stop(self: tracking.Run, epoch: int, *what: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        log(self, epoch, *what)

    tracking.Run.log = stop  # type: ignore[method-assign]
    try:
        for kind, (main, _, words) in TRAININGS.items():
            with contextlib.suppress(KeyboardInterrupt):
                main([*BASE, *words])
            found[kind] = next(
                path for path in Path("runs").iterdir() if path.name.startswith(f"train-{kind}")
            )
    finally:
        tracking.Run.log = log  # type: ignore[method-assign]
    return {kind: path.resolve() for kind, path in found.items()}


def damage_run(directory: Path, foreign: Path, rng: np.random.Generator) -> None:
    """Damage one file of a run, or take it from another run, or away."""
    names = [
        "config.json",
        "config.json",
        "config.json",
        "epochs.jsonl",
        "checkpoint.safetensors",
        "metrics.json",
    ]
    path = directory / names[rng.integers(len(names))]
    kind = rng.random()
    if kind < 0.05:
        path.unlink()
    elif kind < 0.08:
        path.unlink()
        path.mkdir()
    elif kind < 0.15:
        shutil.copy(foreign / path.name, path)
    elif kind < 0.35:
        path.write_bytes(damage(path.read_bytes(), rng))
    elif path.suffix == ".json":
        path.write_text(to_json(damage_json(json.loads(path.read_text()), rng)))
    elif path.suffix == ".jsonl":
        rows = [to_json(damage_json(json.loads(line), rng)) for line in path.read_text().splitlines()]
        path.write_text("".join(f"{row}\n" for row in rows * int(rng.integers(1, 3))))
    elif path.suffix == ".safetensors":
        arrays, header = files.read_arrays(path)
        name = str(rng.choice(list(arrays)))
        change = rng.integers(4)
        if change == 0:
            del arrays[name]
        elif change == 1:
            arrays[name] = damage_array(arrays[name], rng)
        elif change == 2:
            arrays[f"{name}/other"] = arrays[name]
        else:
            header = damage_json(header, rng)
        with contextlib.suppress(TypeError, ValueError):  # a header that cannot be written stays as it was
            files.write_arrays(path, arrays, header)


def cases(folder: Path, count: int) -> Iterator[Case]:
    originals = interrupted_runs(folder)
    output = folder / "model.safetensors"

    def resume(kind: str, directory: Path) -> str:
        main, model, _ = TRAININGS[kind]
        ending = harness.run_script(
            main, f"train_{kind}.py", "--resume", directory, "--output", output, "--quiet"
        )
        if ending == "valid":
            model.load(output)
        return ending

    def case(kind: str, number: int) -> Callable[[], str]:
        output.unlink(missing_ok=True)
        directory = folder / "mutant"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(originals[kind], directory)
        if number >= 0:
            foreign = originals["ann" if kind == "softmax" else "softmax"]
            damage_run(directory, foreign, np.random.default_rng(number))
        return lambda: resume(kind, directory)

    kinds = list(TRAININGS)
    for kind in kinds:
        assert case(kind, -1)() == "valid"
    for number in range(count):
        kind = kinds[number % len(kinds)]
        yield f"{kind} {number}", case(kind, number)


def run(folder: Path, count: int) -> list[str]:
    training.ROOT = folder
    os.environ.pop("WANDB_MODE", None)
    # A configuration that is changed but valid may ask for long work.
    return harness.run_cases("runs", cases(folder, count), late="still at work")
