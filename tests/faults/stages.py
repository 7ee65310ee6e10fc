"""The stages that are killed and robbed of their disk: scripts with little work, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import capture
import train_softmax
from softmax import Softmax
from toolkit import drawings, files, sweep, tracking, trials

import harness
import numpy as np
import toy_sweep

DIGITS = ["--dataset", "digits", "--quiet"]
TRAINING = [*DIGITS, "--limit", "100", "--wandb", "disabled", "--output", "model.safetensors"]
SMALL = ["--epochs", "2", "--conv-channels", "2", "--hidden", "3"]
STAGES: dict[str, tuple[str, Sequence[str]]] = {
    "train softmax": ("train_softmax.py", [*TRAINING, "--epochs", "20"]),
    "train ann": ("train_ann.py", [*TRAINING, *SMALL]),
    "train svm": ("train_svm.py", [*TRAINING, "--pca", "0", "--jobs", "1"]),
    "test": (
        "test_softmax.py",
        [*DIGITS, "--limit", "50", "--model", "given.safetensors", "--output", "tested"],
    ),
    "sweep": ("tests/toy_sweep.py", ["--trials", "8", "--workers", "2"]),
    "pareto": ("pareto.py", ["--db", "sqlite:///given.db", "--csv", "t.csv", "--json", "t.jsonl"]),
    "report": ("report.py", [*DIGITS, "--limit", "20", "--db", "sqlite:///given.db", "--results", "given"]),
    "import": ("capture.py", ["--output", "captured/all.npz", "--import", "set.npz", "--export", "pictures"]),
    "capture": ("tests/faults/stages.py", []),
    "experiment": (
        "experiments/augmentation.py",
        [*DIGITS, "--limit", "50", "--drawn", "set.npz", "--models", "ann", "--seeds", "1", "--epochs", "1"],
    ),
}
DRAWN = 40  # drawings of the stage that captures


def prepare(folder: Path) -> None:
    """Put what the stages read into the current folder."""
    model = Softmax()
    model.weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)
    model.save(folder / "given.safetensors")
    strokes = [[np.array([[0.1, 0.1], [0.9, 0.2]]), np.array([[0.5, 0.5], [0.6, 0.9]])] for _ in range(10)]
    drawings.save_drawings(
        folder / "set.npz", drawings.Drawings(strokes, np.arange(10), np.array(["me"] * 10))
    )
    sweep.work(toy_sweep.SEARCH, sweep.Settings(db="sqlite:///given.db", trials=4, quiet=True))
    with contextlib.closing(sqlite3.connect("given.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    (folder / "given").mkdir()
    for name in ("notes.json", "models.jsonl", "train-softmax"):
        source = harness.ROOT / "results" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / "given" / name)


def start(stage: str, folder: Path) -> subprocess.Popen[str]:
    """Start a stage in a process group of its own, as a terminal does."""
    script, words = STAGES[stage]
    places = os.pathsep.join(map(str, [folder, harness.ROOT, harness.ROOT / "tests"]))
    return subprocess.Popen(
        [sys.executable, str(harness.ROOT / script), *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": places,
            "SWEEP_HEARTBEAT": "0.3",
            "TOY_SLEEP": "0.02",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def check_files(folder: Path) -> None:
    """Read every file that a stage has written; what begins with a dot was never put in its place."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".json" and path.name != "notes.json":
            files.read_json(path)
        elif path.suffix == ".jsonl":
            files.read_lines(path)
        elif path.suffix == ".safetensors":
            files.read_arrays(path)
        elif path.suffix == ".npz":
            drawings.load_drawings(path)
        elif path.suffix == ".png":
            drawings.read_picture(path)
        elif path.suffix == ".pdf":
            assert path.read_bytes().rstrip().endswith(b"%%EOF"), f"{path.name} is cut short"


def resumed(folder: Path) -> dict[str, np.ndarray]:
    """Go on with the training in a folder, from its run or anew, and return the arrays of its model."""
    runs = [path.parent for path in sorted(folder.glob("runs/*/config.json"))]
    ended = [run for run in runs if (run / "metrics.json").is_file()]
    if not [run for run in ended if files.read_json(run / "metrics.json")["status"] == "finished"]:
        words = ["--resume", runs[0]] if runs else STAGES["train softmax"][1]
        output = ["--output", folder / "model.safetensors", "--quiet"]
        here = Path.cwd()
        os.chdir(folder)  # where a training that begins anew puts its run
        try:
            ending = harness.run_script(train_softmax.main, "train_softmax.py", *words, *output)
        finally:
            os.chdir(here)
        assert ending == "valid", f"it cannot go on: {ending}"
        (run, *_) = runs or [path.parent for path in folder.glob("runs/*/config.json")]
        epochs = [epoch["epoch"] for epoch in tracking.read_epochs(run)]
        assert epochs == list(range(1, 21)), f"the record has the epochs {epochs}"
    elif not (folder / "model.safetensors").is_file():
        return {}  # killed between the last record and the model: the run is there, and trains again by hand
    return Softmax.load(folder / "model.safetensors").arrays()


def check_sweep(folder: Path, said: str) -> None:
    """Go on with a sweep, and check that each finished trial that was printed is there, and nothing twice."""
    numbers = {int(line.split(" trial ")[1].split()[0]) for line in said.splitlines() if "] trial " in line}
    db = f"sqlite:///{folder / 'studies.db'}"
    if not (folder / "studies.db").exists():
        assert not numbers
        return
    sweep.work(toy_sweep.SEARCH, sweep.Settings(db=db, trials=8, quiet=True))
    found = {trial["number"]: trial for trial in trials.read_trials(db, "toy")}
    assert all(found[number]["state"] in trials.ENDED for number in numbers), "a printed trial is lost"
    ended = [trial for trial in found.values() if trial["state"] in trials.ENDED]
    assert 8 <= len(ended) <= 9, f"{len(ended)} trials ended"
    assert len({trial["trial_parameters"]["x"] for trial in ended}) == len(ended), "a trial was run twice"


def check_capture(folder: Path, said: str) -> None:
    """Check that each drawing that was confirmed is there."""
    path = folder / "captured.npz"
    count = len(drawings.load_drawings(path)) if path.exists() else 0
    assert count >= len(said.split()), f"{count} drawings of {len(said.split())} that were confirmed"


def draw() -> None:
    """Record drawings as the window does, and say of each that it is saved."""
    recorder = capture.Recorder(Path("captured.npz"), "me", per_digit=DRAWN, rng=np.random.default_rng())
    for _ in range(DRAWN):
        recorder.record([np.random.default_rng().normal(size=(9, 2))])
        print("saved", flush=True)


if __name__ == "__main__":
    from toolkit import commandline

    commandline.run(draw)
