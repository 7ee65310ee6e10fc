"""Sweeps: the search space, the record, and that nothing is lost."""

from __future__ import annotations

import dataclasses
import importlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import toy_sweep
from toy_sweep import CONDITIONS, SEARCH, SPACE

from classifier import InputError
from toolkit import study, sweep, worker
from toolkit.datasets import Drawings, save_drawings
from toolkit.space import GRID_POINTS, normalise, read_space
from toolkit.sweep import Settings


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def records(db: str, name: str = "toy") -> list[dict]:
    with study.open_study(db, name) as opened:
        return opened.records()


def states(db: str, name: str = "toy") -> dict[str, int]:
    found = [record["state"] for record in records(db, name)]
    return {state: found.count(state) for state in sorted(set(found))}


def work(db: str, **settings) -> None:
    search = settings.pop("search", SEARCH)
    sweep.work(search, Settings(db=db, **{"quiet": True, **settings}))


# What a search begins with and measures


def test_the_first_trial_is_the_start_and_later_ones_are_drawn(db):
    start = {"x": 0.25, "kernel": "curved", "gamma": 0.5, "depth": 2}
    work(db, search=dataclasses.replace(SEARCH, start=start), trials=3, pruner="none")
    parameters = [record["trial_parameters"] for record in records(db)]
    assert parameters[0] == start
    assert start not in parameters[1:]


@pytest.mark.parametrize("module", ["sweep_ann", "sweep_svm"])
def test_a_models_start_is_its_default_configuration_with_augmentation(module):
    search = importlib.import_module(module).SEARCH
    train = importlib.import_module(module.replace("sweep", "train"))
    space = read_space(search.space, search.conditions)
    config = search.configure(space.draw(lambda name, _: search.start[name]))
    assert {**config, "epochs": 0} == {**train.CONFIG, "augment": 1.0, "epochs": 0}


def test_every_trial_is_measured_on_drawings_that_are_not_for_testing(db, tmp_path):
    stroke = [np.array([[0, 0], [10, 40]])]
    parts = np.array([False, False, True])
    drawings = Drawings([stroke] * 3, np.array([0, 1, 1]), np.zeros(3, np.uint8), is_test=parts)
    save_drawings(tmp_path / "set.npz", drawings)
    work(db, trials=2, drawn=str(tmp_path / "set.npz"), objectives=("loss", "drawn_accuracy"))
    # The toy says 0 of every drawing, and one of the two that are not for testing is a 0.
    assert [record["drawn_accuracy"] for record in records(db)] == [0.5, 0.5]


def test_drawings_that_are_wanted_and_not_given_are_named(db):
    with pytest.raises(InputError, match="drawn_accuracy needs --drawn"):
        work(db, trials=1, objectives=("drawn_accuracy",))


# The search space


def with_entry(**entry) -> dict:
    return {"parameters": {"other": {"values": [1, 2]}, "entry": entry}}


@pytest.mark.parametrize(
    ("entry", "form"),
    [
        ({"value": 3}, {"distribution": "constant", "value": 3}),
        (
            {"values": ["a", None, True, 2, 0.5]},
            {"distribution": "categorical", "values": ["a", None, True, 2, 0.5]},
        ),
        ({"min": 1, "max": 3}, {"distribution": "int_uniform", "min": 1, "max": 3}),
        ({"min": 0.0, "max": 0.5}, {"distribution": "uniform", "min": 0.0, "max": 0.5}),
        (
            {"distribution": "uniform", "min": 0, "max": 1},
            {"distribution": "uniform", "min": 0.0, "max": 1.0},
        ),
        (
            {"distribution": "q_uniform", "min": 0, "max": 0.5, "q": 0.1},
            {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.1},
        ),
        (
            {"distribution": "log_uniform_values", "min": 1e-4, "max": 1},
            {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        ),
        (
            {"distribution": "log_uniform", "min": -2, "max": 0},
            {"distribution": "log_uniform", "min": -2.0, "max": 0.0},
        ),
    ],
)
def test_an_entry_is_read_with_its_distribution_and_floats_as_floats(entry, form):
    read = normalise(with_entry(**entry))["entry"]
    assert read == form
    assert [type(value) for value in read.values()] == [type(value) for value in form.values()]
    read_space(with_entry(**entry))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"distribution": "normal", "mu": 0.0, "sigma": 1.0}, "'normal', which Optuna cannot express"),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 9}, "Optuna cannot express"),
        ({"values": [1, 2], "probabilities": [0.1, 0.9]}, "probabilities, which Optuna cannot express"),
        ({"values": [[32, 64], [16]]}, r"the value \[32, 64\], which Optuna cannot express"),
        ({"parameters": {"a": {"value": 1}}}, "nested, which Optuna cannot express"),
        ({"values": []}, "no list of values"),
        ({"values": [1, True]}, "True twice"),
        ({"min": 0, "max": 0.5}, "both floats"),
        ({"min": 1.0}, "both floats"),
        ({"min": 2.0, "max": 1.0}, "not below"),
        ({"min": 0.0, "max": float("inf")}, "not a number"),
        ({"distribution": "uniform", "min": "0", "max": 1.0}, "not a number"),
        ({"distribution": "log_uniform_values", "min": 0.0, "max": 1.0}, "above 0"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2.5}, "integers"),
        ({"distribution": "q_uniform", "min": 0.05, "max": 1.0, "q": 0.1}, "multiples of q"),
        ({"distribution": "uniform", "min": 0.0, "max": 1.0, "mean": 1}, "mean"),
    ],
)
def test_an_entry_that_an_engine_cannot_express_is_refused_by_name(entry, says):
    with pytest.raises(InputError, match=f"(?s)'entry'.*{says}"):
        read_space(with_entry(**entry))


@pytest.mark.parametrize("engine", ["optuna", "wandb"])
def test_a_space_is_refused_before_anything_is_made(engine, db, tmp_path):
    bad = {**SPACE, "parameters": {**SPACE["parameters"], "x": {"distribution": "beta"}}}
    with pytest.raises(InputError, match="'x'"):
        sweep.run(dataclasses.replace(SEARCH, space=bad), Settings(db=db, engine=engine))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"gamma": {"nothing": [1]}}, "does not exist"),
        ({"nothing": {"kernel": ["plain"]}}, "does not exist"),
        ({"gamma": {"kernel": ["round"]}}, "never takes"),
        ({"gamma": {"x": [0.5]}}, "never takes"),
        (
            {"gamma": {"kernel": ["plain"]}, "kernel": {"depth": [1]}, "depth": {"kernel": ["plain"]}},
            "itself",
        ),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(conditions, says):
    with pytest.raises(InputError, match=says):
        read_space(SPACE, conditions)


def test_irrelevant_parameters_are_left_out_of_a_proposal():
    space = read_space(SPACE, CONDITIONS)
    proposal = {"x": 0.5, "kernel": "plain", "gamma": 0.1, "depth": 2.0, "epochs": 4}
    assert space.read(proposal) == {"x": 0.5, "kernel": "plain", "depth": 2, "epochs": 4}
    assert space.read({**proposal, "kernel": "curved"})["gamma"] == 0.1
    assert type(space.read(proposal)["depth"]) is int
    for name, value in {"x": 1.5, "kernel": "round", "depth": 9, "gamma": "a"}.items():
        with pytest.raises(ValueError, match=name):
            space.read({**proposal, "kernel": "curved", name: value})
    with pytest.raises(ValueError, match="depth"):
        space.read({"x": 0.5, "kernel": "plain"})


def test_a_parameter_whose_parent_is_irrelevant_is_irrelevant():
    parameters = {name: {"values": [0, 1]} for name in "cab"}
    space = read_space({"parameters": parameters}, {"b": {"a": [1]}, "c": {"b": [1]}})
    assert space.read({"a": 0, "b": 1, "c": 1}) == {"a": 0}
    assert space.read({"a": 1, "b": 0, "c": 1}) == {"a": 1, "b": 0}
    assert space.read({"a": 1, "b": 1, "c": 1}) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("kind", ["ann", "svm"])
def test_every_point_of_a_model_s_space_is_a_whole_configuration(kind):
    module = __import__(f"sweep_{kind}")
    known = __import__(f"train_{kind}").CONFIG
    space = read_space(module.SPACE, module.CONDITIONS)
    for number, point in zip(range(60), worker.grid_points(space, 1), strict=False):
        config = module.configure(point)
        assert set(config) == set(known), number
        assert all(type(config[name]) is type(known[name]) for name in config), config


def test_every_network_of_the_space_can_be_built():
    import sweep_ann
    from ann import ANN
    from train_ann import NETWORK

    space = read_space(sweep_ann.SPACE, sweep_ann.CONDITIONS)
    seen = set()
    for _, point in zip(range(25), worker.grid_points(space, 2), strict=False):
        config = sweep_ann.configure(point)
        seen.add(len(config["conv_channels"]))
        ANN(**{name: config[name] for name in NETWORK})
    assert seen == {0, 1, 2, 3}


def test_a_grid_has_every_point_once_and_ends(db):
    parameters = {"x": {"min": 0.0, "max": 1.0}, "kernel": {"values": ["plain", "curved"]}}
    parameters |= {"gamma": {"values": [0.1, 0.2]}, "depth": {"value": 1}, "epochs": {"value": 1}}
    search = dataclasses.replace(SEARCH, space={"parameters": parameters})
    work(db, search=search, sampler="grid", trials=3, pruner="none")
    work(db, search=search, sampler="grid", trials=99, pruner="none")
    points = [tuple(record["trial_parameters"].items()) for record in records(db)]
    # x, and either the plain kernel or the curved one with its two widths
    assert len(points) == len(set(points)) == GRID_POINTS * 3
    assert {dict(point)["x"] for point in points} == {0, 0.25, 0.5, 0.75, 1}


# The record


def test_a_trial_s_record_is_complete(db, capsys):
    work(db, trials=3, pruner="none", seed=5, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("[3/3] trial 2 finished: loss ")
    best = min(records(db), key=lambda record: record["loss"])
    assert lines[2].endswith(f"; best loss {best['loss']:.4f} (trial {best['number']})")
    for record in records(db):
        for name in (
            "accuracy",
            "log_loss",
            "loss",
            "macro_precision",
            "macro_recall",
            "macro_f1",
            "precision_3",
        ):
            assert isinstance(record[name], float), name
        assert {"recall_0", "f1_9", "worst_precision", "worst_recall", "train_seconds"} <= set(record)
        assert 0 < record["latency"] < 0.1
        assert record["parameters"] == record["config"]["depth"]
        assert record["size"] > 100
        assert (record["state"], record["seed"], record["engine"], record["epochs"]) == (
            "finished",
            5,
            "optuna",
            4,
        )
        assert record["machine"]["processors"] >= 1
        assert {"python", "numpy", "torch"} <= set(record["versions"])
        assert record["config"] == {"epochs": 4, **record["trial_parameters"]}
        assert ("gamma" in record["config"]) == (record["config"]["kernel"] == "curved")


def test_trials_that_are_there_count_towards_the_total(db):
    work(db, trials=3)
    work(db, trials=3)
    assert len(records(db)) == 3
    work(db, trials=5)
    assert len(records(db)) == 5


def test_the_same_seed_draws_the_same_trials_also_after_a_stop(db, tmp_path):
    work(db, trials=14, seed=3)
    other = f"sqlite:///{tmp_path}/other.db"
    for trials in (4, 11, 14):
        work(other, trials=trials, seed=3)
    third = f"sqlite:///{tmp_path}/third.db"
    work(third, trials=3, seed=4)
    first = [record["trial_parameters"] for record in records(db)]
    assert [record["trial_parameters"] for record in records(other)] == first
    assert [record["trial_parameters"] for record in records(third)] != first[:3]
    assert len({parameters["x"] for parameters in first}) == 14


@pytest.mark.parametrize("pruner", ["hyperband", "median"])
def test_hopeless_trials_are_stopped_and_say_so(db, pruner, capsys):
    work(db, trials=14, pruner=pruner, quiet=False)
    pruned = [record for record in records(db) if record["state"] == "pruned"]
    finished = [record for record in records(db) if record["state"] == "finished"]
    assert len(pruned) >= 3
    assert all(record["epochs"] < 4 and record["loss"] > 0 and "config" in record for record in pruned)
    assert min(record["loss"] for record in finished) < min(record["loss"] for record in pruned)
    out = capsys.readouterr().out
    assert f"trial {pruned[0]['number']} pruned: loss" in out
    assert out.count(" pruned: ") == len(pruned)


def test_a_search_for_the_most_accurate_trial_stops_trials_by_their_loss(db):
    work(db, trials=12, objectives=("accuracy",), pruner="median")
    assert states(db)["pruned"] >= 2
    with study.open_study(db, "toy") as opened:
        best = opened.optuna.best_trial
    assert best.value == max(record["accuracy"] for record in records(db) if record["state"] == "finished")


def test_several_objectives_are_searched_for_without_pruning(db, capsys):
    work(db, trials=12, objectives=("loss", "parameters"), quiet=False)
    assert states(db) == {"finished": 12}
    with study.open_study(db, "toy") as opened:
        assert [direction.name for direction in opened.optuna.directions] == ["MINIMIZE", "MINIMIZE"]
        front = len(opened.optuna.best_trials)
    assert f"; {front} on the front so far" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("sampler", ["gp", "random"])
def test_the_other_samplers(db, sampler):
    work(db, trials=12, sampler=sampler, pruner="none")
    assert states(db) == {"finished": 12}
    for record in records(db):
        assert ("gamma" in record["config"]) == (record["config"]["kernel"] == "curved")
        # The Gaussian process wants every parameter of every trial.
        assert ("gamma" in record["trial_parameters"]) == ("gamma" in record["config"] or sampler == "gp")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"objectives": ("beauty",)}, "unknown objective 'beauty'; known are accuracy"),
        ({"objectives": ("loss", "loss")}, "given twice"),
        ({"objectives": ("loss", "latency"), "pruner": "median"}, "several objectives"),
        ({"objectives": ("latency",), "pruner": "hyperband"}, "does not foretell the latency"),
        ({"engine": "wandb", "objectives": ("loss", "latency")}, "one objective"),
        ({"engine": "wandb", "sampler": "gp"}, "belongs to --engine optuna"),
        ({"engine": "wandb", "pruner": "median"}, "no median"),
        ({"db": "studies.db"}, "is no database URL"),
        ({"db": "sqlite://"}, "needs a file"),
        ({"db": "oracle://host/name"}, "not known"),
        ({"db": "sqlite:////no/such/folder/studies.db"}, "cannot open the database"),
        ({"db": "postgresql://nobody@127.0.0.1:1/digits"}, "cannot open the database .*efused"),
    ],
)
def test_what_cannot_be_is_said_before_anything_trains(db, settings, says):
    pytest.importorskip("psycopg")
    with pytest.raises(InputError, match=says) as caught:
        sweep.run(SEARCH, Settings(**{"db": db, **settings}))
    assert "\n" not in str(caught.value)


def test_a_missing_driver_is_said(monkeypatch):
    import sqlalchemy

    def create_engine(*_, **__):
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(sqlalchemy, "create_engine", create_engine)
    with pytest.raises(InputError, match=r"needs a driver: pip install 'psycopg\[binary\]'"):
        sweep.run(SEARCH, Settings(db="postgresql://user:secret@host/name"))


def test_a_password_is_not_shown():
    with pytest.raises(InputError) as caught:
        sweep.run(SEARCH, Settings(db="postgresql://user:secret@127.0.0.1:1/name"))
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(db, tmp_path):
    (tmp_path / "studies.db").write_bytes(b"something else " * 100)
    with pytest.raises(InputError, match="cannot use the database"):
        sweep.run(SEARCH, Settings(db=db))


def test_a_study_of_something_else_is_refused(db):
    work(db, trials=2)
    for settings, says in (
        ({"objectives": ("accuracy",)}, "has objectives loss, not accuracy"),
        ({"limit": 100}, "has limit None, not 100"),
        ({"dataset": "digits"}, "has dataset mnist, not digits"),
    ):
        with pytest.raises(InputError, match=says):
            work(db, trials=4, **settings)
    parameters = {**SPACE["parameters"], "depth": {"values": [1, 2]}}
    with pytest.raises(InputError, match="'depth' is not what the study 'toy' was made with"):
        sweep.run(
            dataclasses.replace(SEARCH, space={**SPACE, "parameters": parameters}),
            Settings(db=db, quiet=True),
        )
    assert len(records(db)) == 2


def test_the_configuration_of_a_trial(db):
    with pytest.raises(InputError, match="there is no database"):
        study.trial_config(db, "toy", 0)
    work(db, trials=6)
    for record in records(db):
        if record["state"] == "finished":
            assert sweep.trial_config(db, "toy", record["number"]) == record["config"]
        else:
            with pytest.raises(
                InputError, match=f"trial {record['number']} of study 'toy' is pruned, not finished"
            ):
                sweep.trial_config(db, "toy", record["number"])
    with pytest.raises(InputError, match="there is no trial 99 in study 'toy'"):
        sweep.trial_config(db, "toy", 99)
    with pytest.raises(InputError, match=r"there is no study 'svm' in .*; it holds toy"):
        sweep.trial_config(db, "svm", 0)


# Nothing is lost


@pytest.mark.parametrize(
    ("variable", "reason"),
    [("TOY_RAISE", "MemoryError: no room for x"), ("TOY_NAN", "ValueError: the loss is nan.")],
)
def test_a_trial_that_fails_is_recorded_and_the_sweep_goes_on(db, variable, reason, monkeypatch, capsys):
    monkeypatch.setenv(variable, "0.5")
    work(db, trials=10, pruner="none", sampler="random", quiet=False)
    failed = [record for record in records(db) if record["state"] == "failed"]
    assert len(records(db)) == 10
    assert 0 < len(failed) < 10
    assert all(record["reason"] == reason and record["trial_parameters"]["x"] > 0.5 for record in failed)
    assert f"failed: {reason}" in capsys.readouterr().out


def test_an_interrupted_trial_runs_again_with_the_same_parameters_and_seed(db):
    def stopped(*arguments, **keywords):
        raise KeyboardInterrupt

    search = dataclasses.replace(SEARCH, train=stopped)
    work(db, trials=2, seed=1, pruner="none")
    for _ in range(4):  # however often
        with pytest.raises(KeyboardInterrupt):
            work(db, search=search, trials=4, seed=1)
    assert states(db) == {"finished": 2, "interrupted": 4}
    work(db, trials=4, seed=2, pruner="none")
    assert states(db) == {"finished": 4, "interrupted": 4}
    trials = records(db)
    assert [trial.get("retry_of") for trial in trials] == [None, None, None, 2, 3, 4, 5, None]
    assert trials[2]["trial_parameters"] == trials[6]["trial_parameters"] != {}
    assert [trial["seed"] for trial in trials] == [1] * 7 + [2]


def dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def claim(opened: study.Study, total: int = 9):
    return opened.claim(total, {"seed": 0})


def test_the_trial_of_a_process_that_died_is_taken_over_at_once(db, monkeypatch):
    about = sweep.prepare(SEARCH, Settings()).about
    with study.open_study(db, "toy", create=about) as opened:
        died = {**study.worker_id(), "pid": dead_process()}
        monkeypatch.setattr(study, "worker_id", lambda: died)
        left = claim(opened)
        x = left.suggest_float("x", 0, 1)
        monkeypatch.undo()
        again = claim(opened)
        assert again.user_attrs["retry_of"] == left.number
        assert again.params == {"x": x}
        assert claim(opened).user_attrs.get("retry_of") is None
        assert not opened.end(left, "finished", {}, [0.5])


def test_a_trial_whose_process_died_while_it_claimed_is_not_lost(db, monkeypatch):
    """Killed between two writes: the trial is there and running, and no worker's name is on it."""
    about = sweep.prepare(SEARCH, Settings()).about
    with study.open_study(db, "toy", create=about) as opened:
        opened.optuna.ask()
        assert claim(opened).user_attrs["retry_of"] == 0
        assert opened.remaining(9) == 8


def test_the_trial_of_a_live_worker_elsewhere_is_left_alone_until_it_falls_silent(db, monkeypatch):
    monkeypatch.setattr(study, "GRACE", 0.3)
    about = sweep.prepare(SEARCH, Settings()).about
    with study.open_study(db, "toy", create=about) as opened:
        elsewhere = {**study.worker_id(), "place": "another machine", "pid": dead_process()}
        monkeypatch.setattr(study, "worker_id", lambda: elsewhere)
        theirs = claim(opened, total=1)
        for beat in range(4):
            assert claim(opened, total=1) is True  # wait: it may still be left behind
            time.sleep(0.15)
            theirs.set_user_attr("heartbeat", beat + 1)
        assert claim(opened, total=1) is True
        time.sleep(0.4)
        again = claim(opened, total=1)
        assert again.user_attrs["retry_of"] == theirs.number
        # The silent one wakes up: its result comes too late, and the trial is not there twice.
        assert not opened.end(theirs, "finished", {"loss": 1.0}, [1.0])
        assert opened.end(again, "finished", {"loss": 1.0}, [1.0])
        assert claim(opened, total=1) is False
        assert [study.state_of(trial) for trial in opened.optuna.trials] == ["interrupted", "finished"]


def test_a_running_trial_gives_signs_of_life(db, monkeypatch):
    monkeypatch.setattr(study, "HEARTBEAT", 0.02)
    with study.open_study(db, "toy", create=sweep.prepare(SEARCH, Settings()).about) as opened:
        trial = claim(opened)
        with opened.heartbeat(trial):
            deadline = time.monotonic() + 20
            while opened.optuna.trials[0].user_attrs["heartbeat"] < 3:
                assert time.monotonic() < deadline
                time.sleep(0.02)


def check_nothing_lost(db: str, total: int) -> None:
    """Every configuration that was begun has exactly one trial that came to an end."""
    trials = {trial["number"]: trial for trial in records(db)}
    ended = [trial for trial in trials.values() if trial["state"] in ("finished", "pruned", "failed")]
    assert len(ended) == total
    assert states(db).keys() <= {"finished", "pruned", "interrupted"}
    retried = [trial["retry_of"] for trial in trials.values() if "retry_of" in trial]
    assert len(retried) == len(set(retried))
    assert sorted(retried) == [n for n, trial in trials.items() if trial["state"] == "interrupted"]
    for trial in trials.values():
        if "retry_of" in trial:
            old = trials[trial["retry_of"]]["trial_parameters"]
            assert old.items() <= trial["trial_parameters"].items()
    assert len({trial["trial_parameters"]["x"] for trial in ended}) == total


def test_kill_9_at_any_moment_and_start_again(script, db):
    command = ("tests/toy_sweep.py", "--trials", 8, "--db", db, "--workers", 2)
    moments = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            script.arguments(*command),
            cwd=script.folder,
            env={**os.environ, "TOY_SLEEP": "0.1"},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()  # the study is there, the workers start
        time.sleep(moments.uniform(0.8, 1.8))
        process.kill()
        process.communicate()
    done = script(*command)
    check_nothing_lost(db, 8)
    assert "Traceback" not in done.stderr


def test_two_workers_share_a_study_and_overshoot_nothing(script, db):
    done = script("tests/toy_sweep.py", "--trials", 13, "--db", db, "--workers", 2, TOY_SLEEP="0.01")
    check_nothing_lost(db, 13)
    workers = {trial["worker"]["pid"] for trial in records(db)}
    assert len(workers) == 2
    threads = {trial["machine"]["threads"] for trial in records(db)}
    assert threads == {max(1, len(os.sched_getaffinity(0)) // 2)}
    assert done.stdout.count("] trial ") == 13


def test_a_trial_that_kills_its_process_fails_at_last_and_the_sweep_goes_on(script, db):
    """As the kernel does where memory runs out."""
    done = script(
        "tests/toy_sweep.py", "--trials", 2, "--db", db, "--pruner", "none", TOY_KILL="0.9", TOY_SLEEP="0"
    )
    killed = [trial for trial in records(db) if trial["trial_parameters"]["x"] > 0.9]
    assert [trial["state"] for trial in killed] == ["interrupted", "interrupted", "failed"]
    assert killed[-1]["reason"] == "the process was killed in this trial 3 times; out of memory?"
    assert done.stderr.count("signal 9 killed a worker") == 3
    assert states(db) == {"failed": 1, "finished": 1, "interrupted": 2}


def test_ctrl_c_records_the_trial_as_interrupted(script, db):
    process = subprocess.Popen(
        script.arguments("tests/toy_sweep.py", "--trials", 9, "--db", db, "--workers", 2),
        cwd=script.folder,
        env={**os.environ, "TOY_SLEEP": "30"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not Path(db[10:]).exists() or sum(map(len, states_or_none(db))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "Interrupted.\n"
    assert states(db) == {"interrupted": 2}


def states_or_none(db: str) -> list[list[dict]]:
    try:
        # Counted when their configuration is there: then their training has begun.
        return [[trial for trial in records(db) if "config" in trial]]
    except InputError:
        return []


# The command lines


def test_nothing_but_errors_is_printed_when_quiet(script, db):
    done = script("tests/toy_sweep.py", "--trials", 2, "--db", db, "--quiet")
    assert (done.stdout, done.stderr) == ("", "")
    assert len(records(db)) == 2


def test_a_sweep_without_a_trial_that_finished_says_so(script, db):
    done = script("tests/toy_sweep.py", "--trials", 2, "--db", db, status=2, TOY_RAISE="-1")
    assert "no trial of the study 'toy' finished" in done.stderr


@pytest.mark.parametrize(
    "words", [["--sweep-id", "x"], ["--engine", "wandb", "--wandb", "offline"], ["--engine", "wandb"]]
)
def test_wrong_flags_are_one_sentence(script, words):
    script("tests/toy_sweep.py", *words, status=2, WANDB_MODE="online")


@pytest.mark.parametrize("kind", ["ann", "svm"])
def test_the_sweeps_of_the_models_on_the_bundled_digits(script, kind):
    done = script(
        f"sweep_{kind}.py",
        "--dataset",
        "digits",
        "--limit",
        150,
        "--trials",
        2,
        "--sampler",
        "random",
        "--seed",
        32,
    )
    (name,) = study.study_names(f"sqlite:///{script.folder}/studies.db")
    assert name == kind
    assert "Study " + kind in done.stdout
    for trial in records(f"sqlite:///{script.folder}/studies.db", kind):
        assert trial["state"] in ("finished", "pruned"), trial
        assert trial["config"].keys() == __import__(f"train_{kind}").CONFIG.keys()
        if trial["state"] == "finished":
            assert trial["parameters"] > 100
            assert trial["size"] > 1000
            assert 0 < trial["latency"] < 1


def test_help_is_quick_for_it_imports_nothing_heavy(script):
    heavy = "('torch', 'optuna', 'wandb', 'sklearn', 'matplotlib')"
    code = f"import sys, sweep_ann, sweep_svm, pareto; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [script.arguments("x")[0], "-c", code],
        cwd=Path(toy_sweep.__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n", done.stderr
