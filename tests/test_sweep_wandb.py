"""Sweeps on Weights & Biases, through its real client: against a stand-in for its server, and offline."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

from classifier import InputError
from toolkit import search, sweep, trials, wandb_sweep
from toolkit.sweep import Settings

import pytest
from toy_sweep import SEARCH
from wandb_server import PROJECT, SWEEP, WandbServer

pytestmark = pytest.mark.server
PROPOSALS = [
    {"x": x, "kernel": kernel, "gamma": 0.1, "depth": 2}
    for x, kernel in ((0.1, "plain"), (0.5, "curved"), (0.9, "plain"), (0.4, "plain"))
]
LOSSES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


@pytest.fixture
def db(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def records(db: str) -> list[dict]:
    return trials.read_trials(db, "toy")


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

    found = records(db)
    assert [trial["state"] for trial in found] == ["finished", "pruned", "failed"]
    assert [trial["trial_parameters"]["x"] for trial in found] == [0.1, 0.5, 0.9]
    assert [trial["trial_parameters"].get("gamma") for trial in found] == [None, 0.1, None]
    assert {trial["engine"] for trial in found} == {"wandb"}
    assert all(trial["started"] < trial["ended"] for trial in found)
    assert found[2]["reason"] == "MemoryError: no room for x"
    assert found[1].get("epochs", 0) < 4
    assert found[0]["loss"] == pytest.approx(0.29)
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
    assert runs[0]["summary"]["macro_f1"] == pytest.approx(found[0]["macro_f1"])


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
    # Weights & Biases knows of the trial that was killed; the study gets those that ended.
    assert [trial["state"] for trial in records(db)] == ["finished"] * 3
    assert len(server.handed_out) == 4


def test_ctrl_c_ends_the_sweep(script, db):
    with WandbServer([*PROPOSALS, *PROPOSALS]) as server:
        process = subprocess.Popen(
            script.arguments(*command(db, 3)),
            cwd=script.folder,
            env={**os.environ, **environment(server, TOY_SLEEP="0.5")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not server.handed_out or server.handed_out[0] not in server.runs:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("Interrupted.\n")


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


def test_a_space_as_weights_and_biases_has_it(db):
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    entries = {
        "kernel": (CategoricalDistribution(["a", None, True, 2, 0.5]), {"values": ["a", None, True, 2, 0.5]}),
        "depth": (IntDistribution(1, 3), {"distribution": "int_uniform", "min": 1, "max": 3}),
        # A float's bound written as 0 would be an integer there.
        "x": (FloatDistribution(0, 1), {"distribution": "uniform", "min": 0.0, "max": 1.0}),
        "gamma": (
            FloatDistribution(1e-4, 1, log=True),
            {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        ),
        "dropout": (
            FloatDistribution(0, 0.5, step=0.1),
            {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.1},
        ),
    }
    plan = sweep.prepare(SEARCH, Settings(db=db, engine="wandb"))
    space = {name: (distribution, search.always) for name, (distribution, _) in entries.items()}
    made = wandb_sweep.sweep_config(dataclasses.replace(plan, space=space))
    for name, (_, form) in entries.items():
        assert made["parameters"][name] == form
        own = made["parameters"][name].values()
        assert [type(value) for value in own] == [type(value) for value in form.values()]
    assert made["metric"] == {"name": "val_loss", "goal": "minimize"}
    assert made["early_terminate"] == {"type": "hyperband", "min_iter": 1, "eta": 3}
    plan = sweep.prepare(SEARCH, Settings(db=db, engine="wandb", objectives=("accuracy",)))
    assert wandb_sweep.sweep_config(plan)["metric"] == {"name": "val_accuracy", "goal": "maximize"}


def test_a_proposal_is_read_with_the_types_of_the_space():
    space = search.read_space(SEARCH)
    proposal = {"x": 0.5, "kernel": "plain", "gamma": 1.0 + 1e-12, "depth": 2.0}
    read = wandb_sweep.read_proposal(space, proposal)
    assert read == {"x": 0.5, "kernel": "plain", "gamma": 1.0, "depth": 2}
    assert type(read["depth"]) is int
    for name, value in {"x": 1.5, "kernel": "round", "depth": 9, "gamma": "a"}.items():
        with pytest.raises(InputError, match=name):
            wandb_sweep.read_proposal(space, {**proposal, name: value})
    with pytest.raises(InputError, match="depth"):
        wandb_sweep.read_proposal(space, {"x": 0.5, "kernel": "plain", "gamma": 0.5})


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


def test_a_sweep_is_logged_without_a_flag_where_a_key_is_set(script, db):
    with WandbServer() as server:
        done = script("tests/toy_sweep.py", "--trials", 2, "--db", db, **environment(server, TOY_SLEEP="0"))
    assert "Weights & Biases: a run for each trial, in the group toy." in done.stdout
    assert sorted(run["name"] for run in server.runs.values()) == ["toy 0", "toy 1"]
    for run in server.runs.values():
        assert all(name in row for row in run["rows"][:4] for name in LOSSES)
        assert run["rows"][-1]["confusion_matrix"]["_type"] == "image-file"
        assert {"x", "kernel", "depth", "epochs", "seed", "trial", "study"} <= set(run["config"])


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
    found = {trial["number"]: trial for trial in records(db)}
    assert len(server.runs) == 2
    for run in server.runs.values():
        assert [row["epoch"] for row in run["rows"]] == [1, 2, 3, 4]
        assert all(name in row for row in run["rows"] for name in LOSSES)
        trial = found[run["config"]["trial"]["value"]]
        assert run["rows"][-1]["train_loss"] == pytest.approx(trial["loss"])
        assert run["rows"][-1]["val_loss"] == pytest.approx(trial["loss"] + 0.01)
        assert run["config"]["x"]["value"] == trial["trial_parameters"]["x"]
        assert run["summary"]["status"] == "finished"
        assert run["group"] == "toy"
