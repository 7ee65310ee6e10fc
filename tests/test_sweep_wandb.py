"""Sweeps on Weights & Biases, through its real client: against a stand-in for its server, and offline."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from toy_sweep import SEARCH
from wandb_server import PROJECT, SWEEP, WandbServer

from classifier import InputError
from toolkit import study, sweep
from toolkit.sweep import Settings

pytestmark = pytest.mark.server
PROPOSALS = [
    {"x": x, "kernel": kernel, "gamma": 0.1, "depth": 2, "epochs": 4}
    for x, kernel in ((0.1, "plain"), (0.5, "curved"), (0.9, "plain"), (0.4, "plain"))
]
LOSSES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


@pytest.fixture
def db(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def records(db: str) -> list[dict]:
    with study.open_study(db, "toy") as opened:
        return opened.records()


def environment(server: WandbServer, **more: str) -> dict[str, str]:
    return {"WANDB_MODE": "online", "TOY_BEAT": "0.3", "TOY_SLEEP": "0.3", **server.environment(), **more}


def command(db: str, trials: int, *words: object) -> tuple[object, ...]:
    return ("tests/toy_sweep.py", "--engine", "wandb", "--trials", trials, "--db", db, *words)


def test_three_trials_a_stop_and_one_that_raises(script, db):
    # The second is stopped by the server, the third raises; then the server ends the sweep.
    with WandbServer(PROPOSALS[:3], stops={1: 3}) as server:
        done = script(*command(db, 9), **environment(server, TOY_RAISE="0.8"))
    assert "Traceback" not in done.stderr
    assert server.unknown == []
    assert {"Viewer", "UpsertSweep", "CreateAgent", "Heartbeat", "UpsertBucket"} <= set(server.calls)

    (made,) = server.sweeps
    assert made["projectName"] == PROJECT
    for line in (
        "method: bayes",
        "name: val_loss",
        "goal: minimize",
        "type: hyperband",
        "distribution: uniform",
    ):
        assert line in made["config"]
    assert re.search(r"x:\s+distribution: uniform\s+max: 1.0\s+min: 0.0", made["config"])

    trials = records(db)
    assert [trial["state"] for trial in trials] == ["finished", "pruned", "failed"]
    assert [trial["trial_parameters"]["x"] for trial in trials] == [0.1, 0.5, 0.9]
    assert [trial["trial_parameters"].get("gamma") for trial in trials] == [None, 0.1, None]
    assert {trial["engine"] for trial in trials} == {"wandb"}
    assert trials[2]["reason"] == "MemoryError: no room for x"
    assert trials[1].get("epochs", 0) < 4
    assert trials[0]["loss"] == pytest.approx(0.29)
    assert "Weights & Biases has ended the sweep." in done.stdout

    runs = [server.runs[name] for name in server.handed_out]
    assert [run["summary"]["status"] for run in runs] == ["finished", "pruned", "failed"]
    assert [run["exitcode"] for run in runs] == [0, 0, 1]
    assert {run["group"] for run in runs} == {"toy"}
    assert {run["sweep"] for run in runs} == {SWEEP}
    for run in (runs[0], runs[2]):
        assert [row["epoch"] for row in run["rows"]] == [1, 2, 3, 4]
        assert all(name in row for row in run["rows"] for name in LOSSES)
    assert runs[0]["rows"][-1]["confusion_matrix"]["_type"] == "image-file"
    assert runs[0]["config"]["x"]["value"] == 0.1
    assert runs[0]["summary"]["macro_f1"] == pytest.approx(trials[0]["macro_f1"])


def test_the_total_is_kept_and_a_killed_sweep_goes_on(script, db):
    with WandbServer([*PROPOSALS, *PROPOSALS]) as server:
        process = subprocess.Popen(
            script.arguments(*command(db, 3)),
            cwd=script.folder,
            env={**os.environ, **environment(server, TOY_SLEEP="0.5")},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not server.handed_out or server.handed_out[0] not in server.runs:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        script(*command(db, 3, "--quiet"), **environment(server))
    assert len(server.sweeps) == 1  # the study's own is joined again
    trials = records(db)
    assert [trial["state"] for trial in trials] == ["interrupted", "finished", "finished", "finished"]
    assert [trial.get("retry_of") for trial in trials] == [None, 0, None, None]
    assert trials[0]["trial_parameters"] == trials[1]["trial_parameters"]
    assert len(server.handed_out) == 3


def test_another_machine_joins_by_the_sweep_s_id(script, db, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    with WandbServer(PROPOSALS) as server:
        script(*command(other, 1, "--sweep-id", SWEEP), **environment(server, TOY_SLEEP="0"))
        bad = [{**PROPOSALS[0], "x": 7.0}]
        server.proposals = [PROPOSALS[0], *bad]
        done = script(*command(other, 2), status=2, **environment(server, TOY_SLEEP="0"))
    assert server.sweeps == []
    assert "is not of this search space: the proposed 'x', 7.0, is not in the space" in done.stderr
    assert [trial["state"] for trial in records(other)] == ["finished"]


def test_a_server_that_cannot_be_reached_is_one_sentence(db, monkeypatch):
    import wandb

    def unreachable(*_, **__):
        raise wandb.errors.CommError("no route\nto the host")

    monkeypatch.setattr(wandb, "sweep", unreachable)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(
        InputError, match=r"^Weights & Biases made no sweep: CommError: no route to the host\.$"
    ):
        sweep.run(SEARCH, Settings(db=db, engine="wandb", wandb="online", quiet=True))
    assert records(db) == []


def test_offline_runs_hold_the_losses_of_both_splits(script, db):
    """Read back as a person would: `wandb sync` sends them, here to the stand-in."""
    script(
        "tests/toy_sweep.py",
        "--trials",
        2,
        "--db",
        db,
        "--wandb",
        "offline",
        "--pruner",
        "none",
        WANDB_MODE="offline",
    )
    folders = sorted((script.folder / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    with WandbServer() as server:
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", *folders],
            cwd=script.folder,
            env={**os.environ, **environment(server)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    trials = {trial["number"]: trial for trial in records(db)}
    assert len(server.runs) == 2
    for run in server.runs.values():
        assert [row["epoch"] for row in run["rows"]] == [1, 2, 3, 4]
        assert all(name in row for row in run["rows"] for name in LOSSES)
        trial = trials[run["config"]["trial"]["value"]]
        assert run["rows"][-1]["train_loss"] == pytest.approx(trial["loss"])
        assert run["rows"][-1]["val_loss"] == pytest.approx(trial["loss"] + 0.01)
        assert run["config"]["x"]["value"] == trial["trial_parameters"]["x"]
        assert run["summary"]["status"] == "finished"
        assert run["group"] == "toy"
