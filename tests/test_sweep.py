"""Sweeps: the search space, the record, and that nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import math
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from classifier import InputError
from toolkit import search, sweep, trials, worker
from toolkit.drawings import Drawings, save_drawings
from toolkit.metrics import evaluate, flat
from toolkit.search import GRID_POINTS, draw, first_trial, read_space
from toolkit.sweep import Settings

import numpy as np
import pytest
import toy_sweep
from toy_sweep import SEARCH

SHORT = {"SWEEP_HEARTBEAT": "0.5"}  # for tests that wait for a killed process to count as dead


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def records(db: str, name: str = "toy") -> list[dict]:
    return trials.read_trials(db, name)


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
    from optuna.trial import FixedTrial

    own = importlib.import_module(module).SEARCH
    space = read_space(own)
    config = own.config.read(own.configure(draw(FixedTrial(first_trial(own, space)), space)))
    augmented = own.config(augment=1.0).values()
    # Trials of the network are shorter.
    assert {**config.values(), "epochs": 0} == {**augmented, "epochs": 0}


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


def with_space(**entries) -> sweep.Search:
    return dataclasses.replace(SEARCH, space=lambda: {**SEARCH.space(), **entries})


def test_a_hyperparameter_more_is_one_line(db):
    from optuna.distributions import IntDistribution

    work(db, search=with_space(epochs=IntDistribution(2, 3)), trials=3, pruner="none")
    for record in records(db):
        assert record["config"]["epochs"] == record["trial_parameters"]["epochs"] in (2, 3)


def test_a_space_that_the_training_does_not_know_is_refused_before_anything_is_made(db, tmp_path):
    from optuna.distributions import FloatDistribution

    for entries, says in (
        ({"y": FloatDistribution(0, 1)}, "unknown configuration y"),
        ({"x": FloatDistribution(-1, 1)}, "wanted x from 0 to 1"),
        ({"x": FloatDistribution(0, 2)}, "wanted x from 0 to 1"),
        ({"x": {"min": 0.0, "max": 1.0}}, "entry 'x' is no distribution"),
    ):
        for engine in ("optuna", "wandb"):
            with pytest.raises(InputError, match=says):
                sweep.run(with_space(**entries), Settings(db=db, engine=engine))

    def wrong():
        return {"x": FloatDistribution(1, 0)}

    with pytest.raises(InputError, match=r"the search space of toy: .*low"):
        sweep.run(dataclasses.replace(SEARCH, space=wrong), Settings(db=db))
    assert list(tmp_path.iterdir()) == []


def test_irrelevant_hyperparameters_are_not_drawn():
    from optuna.trial import FixedTrial

    space = read_space(SEARCH)
    flat = {"x": 0.5, "kernel": "plain", "gamma": 0.1, "depth": 2}
    trial = FixedTrial(flat)
    assert draw(trial, space) == trial.params == {"x": 0.5, "kernel": "plain", "depth": 2}
    assert draw(FixedTrial({**flat, "kernel": "curved"}), space)["gamma"] == 0.1
    # A sampler that wants all of them gets them, and they still do not count.
    trial = FixedTrial(flat)
    assert draw(trial, space, every=True) == {"x": 0.5, "kernel": "plain", "depth": 2}
    assert trial.params == flat


def random_points(kind: str, count: int) -> list[tuple[sweep.Search, dict]]:
    """Points that random search draws of a model's space, after its first trial."""
    import optuna

    own = importlib.import_module(f"sweep_{kind}").SEARCH
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=search.make_sampler("random", [0]))
    return [(own, draw(study.ask(), read_space(own))) for _ in range(count)]


@pytest.mark.parametrize("kind", ["ann", "svm"])
def test_every_point_of_a_model_s_space_is_a_configuration(kind):
    for own, point in random_points(kind, 60):
        config = own.config.read(own.configure(point)).values()
        named = {name: value for name, value in point.items() if name in config}
        assert named.items() <= config.items()
        assert ("augment" in point) == (config["augment"] > 0)


def test_every_network_of_the_space_can_be_built():
    import ann

    seen = set()
    for own, point in random_points("ann", 25):
        config = own.config.read(own.configure(point))
        seen.add(len(config.conv_channels))
        ann.ANN(**config.part(ann.Config).values())
    assert seen == {0, 1, 2, 3}


def test_a_grid_has_every_point_once_and_ends(db):
    from optuna.distributions import CategoricalDistribution as Choice

    space = SEARCH.space()
    gamma = (Choice([0.1, 0.2]), space["gamma"][1])
    own = dataclasses.replace(
        SEARCH, space=lambda: {"x": space["x"], "kernel": space["kernel"], "gamma": gamma}
    )
    work(db, search=own, sampler="grid", trials=3, pruner="none")
    work(db, search=own, sampler="grid", trials=99, pruner="none")
    points = [tuple(record["trial_parameters"].items()) for record in records(db)]
    # x, and either the plain kernel or the curved one with its two widths
    assert len(points) == len(set(points)) == GRID_POINTS * 3
    assert {dict(point)["x"] for point in points} == {0, 0.25, 0.5, 0.75, 1}


def test_a_grid_s_points_are_spaced_as_the_range_is():
    from optuna.distributions import FloatDistribution, IntDistribution

    assert search.grid(FloatDistribution(1, 5)).choices == (1, 2, 3, 4, 5)
    assert search.grid(FloatDistribution(1e-4, 1, log=True)).choices == pytest.approx(
        (1e-4, 1e-3, 1e-2, 0.1, 1)
    )
    for finite in (FloatDistribution(0, 1, step=0.5), IntDistribution(1, 9)):
        assert search.grid(finite) is finite


# The record


def test_the_toy_s_metrics_are_those_of_its_answers():
    model, images = toy_sweep.Toy(), toy_sweep.load("validation", dataset="", data=None, limit=None)
    metrics = evaluate(images.labels, model.predict_proba(images.images))
    assert metrics.pop("accuracy") == 0.1
    wanted = flat(toy_sweep.MEASURED)
    assert metrics.pop("confusion") == wanted.pop("confusion")
    assert flat(metrics) == pytest.approx(wanted)


def test_a_trial_s_record_is_complete(db, capsys):
    work(db, trials=3, pruner="none", seed=5, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("[3/3] trial 2 finished: loss ")
    best = min(records(db), key=lambda record: record["loss"])
    assert lines[2].endswith(f"; best loss {best['loss']:.4f} (trial {best['number']})")
    assert " s left" in lines[0]
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
        assert record["study"] == "toy"
        assert record["size"] > 100
        assert (record["state"], record["seed"], record["engine"], record["epochs"]) == (
            "finished",
            5,
            "optuna",
            4,
        )
        assert record["machine"]["processors"] >= 1
        assert {"python", "numpy", "torch"} <= set(record["versions"])
        assert record["config"] == {"epochs": 4, "gamma": 1.0, **record["trial_parameters"]}
        assert ("gamma" in record["trial_parameters"]) == (record["config"]["kernel"] == "curved")
        assert record["confusion"] == toy_sweep.MEASURED["confusion"]
        assert [epoch["epoch"] for epoch in record["history"]] == [1, 2, 3, 4]
        assert record["history"][-1]["train_loss"] == pytest.approx(record["loss"], rel=1e-4)
        assert record["history"][-1]["val_accuracy"] == pytest.approx(record["accuracy"], rel=1e-4)
        assert record["images"] == 20
        assert record["command"]


def test_an_epoch_that_is_not_finite_can_be_kept_and_read_back(db):
    def diverging(*arguments, run, **keywords):
        run.log(1, {"train_loss": math.nan, "val_loss": 1 / 3})
        raise ValueError("the loss is not finite")

    work(db, search=dataclasses.replace(SEARCH, train=diverging), trials=1, pruner="none")
    (epoch,) = records(db)[0]["history"]
    assert math.isnan(epoch["train_loss"])
    assert epoch["val_loss"] == 0.33333


def test_trials_that_are_there_count_towards_the_total(db):
    work(db, trials=3)
    work(db, trials=3)
    assert len(records(db)) == 3
    work(db, trials=5)
    assert len(records(db)) == 5


def test_the_same_seed_draws_the_same_trials_also_after_a_stop(db, tmp_path):
    work(db, trials=14, seed=3)
    other = f"sqlite:///{tmp_path}/other.db"
    for total in (4, 11, 14):
        work(other, trials=total, seed=3)
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
    for record in pruned:  # measured where they stopped, as the finished ones are at their end
        assert len(record["history"]) == record["epochs"]
        assert record["confusion"] == toy_sweep.MEASURED["confusion"]
        assert record["macro_precision"] == pytest.approx(0.01)
        assert record["recall_0"] == 1
    out = capsys.readouterr().out
    assert f"trial {pruned[0]['number']} pruned: loss" in out
    assert out.count(" pruned: ") == len(pruned)


def test_a_search_for_the_most_accurate_trial_stops_trials_by_their_accuracy(db):
    work(db, trials=12, objectives=("accuracy",), pruner="median")
    assert states(db)["pruned"] >= 2
    with trials.open_study(db, "toy") as study:
        best = study.best_trial
        reported = study.get_trials()[0].intermediate_values
    assert 0.5 < reported[1] < reported[2] < 1
    assert best.value == max(record["accuracy"] for record in records(db) if record["state"] == "finished")


def test_several_objectives_are_searched_for_without_pruning(db, capsys):
    work(db, trials=12, objectives=("loss", "parameters"), quiet=False)
    assert states(db) == {"finished": 12}
    with trials.open_study(db, "toy") as study:
        assert [direction.name for direction in study.directions] == ["MINIMIZE", "MINIMIZE"]
        front = len(study.best_trials)
    assert f"; {front} on the front so far" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("sampler", ["gp", "random"])
def test_the_other_samplers(db, sampler):
    work(db, trials=12, sampler=sampler, pruner="none")
    assert states(db) == {"finished": 12}
    for record in records(db):
        curved = record["config"]["kernel"] == "curved"
        assert (record["config"]["gamma"] != 1) == curved
        # The Gaussian process wants every parameter of every trial.
        assert ("gamma" in record["trial_parameters"]) == (curved or sampler == "gp")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"objectives": ("beauty",)}, "unknown objective 'beauty'; known are accuracy"),
        ({"objectives": ("loss", "loss")}, "given twice"),
        ({"objectives": ()}, "at least one objective"),
        ({"objectives": ("loss", "latency"), "pruner": "median"}, "several objectives"),
        ({"objectives": ("latency",), "pruner": "hyperband"}, "does not foretell the latency"),
        ({"engine": "wandb", "objectives": ("loss", "latency")}, "one objective"),
        ({"engine": "wandb", "sampler": "gp"}, "belongs to --engine optuna"),
        ({"engine": "wandb", "pruner": "median"}, "no median"),
        ({"db": "studies.db"}, "is no database URL"),
        (
            {"db": "postgresql//user:secret@host/name"},
            r"'postgresql//user:\*\*\*@host/name' is no database URL",
        ),
        ({"db": "sqlite://"}, "needs a file"),
        ({"study": "\udcff"}, "printable"),
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


def test_a_database_that_fails_during_a_trial_is_one_sentence(db, tmp_path):
    """As on a full disk."""

    def failing(*arguments, **keywords):
        with contextlib.closing(sqlite3.connect(tmp_path / "studies.db")) as connection:
            connection.execute("DROP TABLE trial_user_attributes")
        return SEARCH.train(*arguments, **keywords)

    with pytest.raises(InputError, match=r"^cannot use the database sqlite:.*: no such table") as caught:
        work(db, search=dataclasses.replace(SEARCH, train=failing), trials=2, pruner="none")
    assert "\n" not in str(caught.value)


def test_a_full_disk_ends_a_sweep_of_two_workers_with_one_sentence(script, db, tmp_path):
    resource = pytest.importorskip("resource")
    work(db, trials=2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow by more than a few trials.
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "studies.db").stat().st_size + 20_000, limits[1]))
    try:
        done = script("tests/toy_sweep.py", "--trials", 60, "--db", db, "--workers", 2, status=2, **SHORT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.stderr.startswith("toy_sweep.py: error: cannot use the database sqlite:")
    total = 1 + sum(count for state, count in states(db).items() if state in trials.ENDED)
    script("tests/toy_sweep.py", "--trials", total, "--db", db, **SHORT)
    check_nothing_lost(db, total)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_user_attributes SET value_json = '{'",
        f"UPDATE trial_user_attributes SET value_json = '{'9' * 5000}'",
        "UPDATE trial_user_attributes SET value_json = '\"low\"' WHERE key = 'accuracy'",
        "UPDATE trial_user_attributes SET value_json = '3' WHERE key = 'config'",
        "UPDATE trial_user_attributes SET value_json = '[[1, 2]]' WHERE key = 'confusion'",
        "UPDATE trial_user_attributes SET value_json = '[3]' WHERE key = 'history'",
        "UPDATE trials SET state = 'abc'",
        "UPDATE trial_values SET value = NULL",
    ],
)
def test_a_record_that_is_damaged_is_one_sentence(db, tmp_path, damage):
    work(db, trials=1)
    with contextlib.closing(sqlite3.connect(tmp_path / "studies.db")) as connection, connection:
        connection.execute(damage)
    with pytest.raises(
        InputError, match=r"^(the study 'toy'|cannot use the database|database) .*damaged|cannot"
    ):
        records(db)


def test_a_study_of_another_program_is_refused(db):
    import optuna

    optuna.create_study(storage=db, study_name="toy").optimize(
        lambda trial: trial.suggest_float("x", 0, 1), 1
    )
    with pytest.raises(InputError, match="the study 'toy' was not made by this program"):
        work(db, trials=2)
    with pytest.raises(InputError, match="has no configuration of this program"):
        sweep.trial_config(db, "toy", 0)


def test_a_study_of_an_older_version_can_be_read(db):
    from optuna.trial import TrialState, create_trial

    config = {"kernel": "rbf", "gamma": None, "jobs": 2}
    known = {"config": config, "fit_loss": 0.1, "choose_loss": 0.2, "state": "finished", "worker": {"pid": 1}}
    with trials.open_study(db, "svm", create={"objectives": ["loss"]}) as study:
        study.add_trial(create_trial(value=0.2, user_attrs={**known, "heartbeat": 3}))
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"state": "interrupted"}))
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"reason": "MemoryError"}))
    first, *others = records(db, "svm")
    assert [trial["state"] for trial in (first, *others)] == ["finished", "interrupted", "failed"]
    assert (first["train_loss"], first["val_loss"]) == (0.1, 0.2)
    assert not {"worker", "heartbeat", "fit_loss"} & set(first)
    read = importlib.import_module("train_svm").Config.read(sweep.trial_config(db, "svm", 0))
    assert (read.kernel, read.gamma, read.jobs) == ("rbf", "scale", -1)


def test_a_study_of_something_else_is_refused(db):
    work(db, trials=2)
    for settings, says in (
        ({"objectives": ("accuracy",)}, "has objectives loss, not accuracy"),
        ({"limit": 100}, "has limit None, not 100"),
        ({"dataset": "digits"}, "has dataset mnist, not digits"),
    ):
        with pytest.raises(InputError, match=says):
            work(db, trials=4, **settings)
    from optuna.distributions import CategoricalDistribution

    with pytest.raises(InputError, match="'depth' is not what the study 'toy' was made with"):
        sweep.run(with_space(depth=CategoricalDistribution([1, 2])), Settings(db=db, quiet=True))
    assert len(records(db)) == 2


def test_the_configuration_of_a_trial(db):
    with pytest.raises(InputError, match="there is no database"):
        sweep.trial_config(db, "toy", 0)
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

    stopping = dataclasses.replace(SEARCH, train=stopped)
    work(db, trials=2, seed=1, pruner="none")
    for _ in range(4):  # however often
        with pytest.raises(KeyboardInterrupt):
            work(db, search=stopping, trials=4, seed=1)
    assert states(db) == {"finished": 2, "interrupted": 4, "waiting": 1}
    work(db, trials=4, seed=2, pruner="none")
    assert states(db) == {"finished": 4, "interrupted": 4}
    found = records(db)
    assert [trial.get("retry_of") for trial in found] == [None, None, None, 2, 3, 4, 5, None]
    assert found[2]["trial_parameters"] == found[6]["trial_parameters"] != {}
    assert [trial["seed"] for trial in found] == [1] * 7 + [2]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # which a trial without a process lacks
def test_a_trial_whose_process_died_before_its_first_sign_of_life_is_not_lost(db, monkeypatch):
    """Killed between two writes of Optuna: the trial counts as running, and nothing shows that it is not."""
    monkeypatch.setattr(trials, "HEARTBEAT", 0.2)
    monkeypatch.setattr(trials, "GRACE", 1.0)
    with trials.open_study(db, "toy", create=sweep.prepare(SEARCH, Settings()).about) as study:
        study.enqueue_trial({"x": 0.25, "kernel": "plain", "depth": 2})
        study.ask()
    work(db, trials=1)
    assert states(db) == {"finished": 1, "interrupted": 1}
    assert records(db)[1]["retry_of"] == 0
    assert records(db)[1]["trial_parameters"]["x"] == 0.25


def test_a_trial_that_another_worker_took_for_dead_ends_without_harm(db, monkeypatch, capsys):
    """As when a laptop was closed during a trial: the other's result stands."""

    def suspended(*arguments, run, **keywords):
        from optuna.trial import TrialState

        with trials.open_study(db, "toy") as study:
            number = run.trial.number
            if number == 0:
                study.tell(number, state=TrialState.FAIL)
        return SEARCH.train(*arguments, run=run, **keywords)

    work(db, search=dataclasses.replace(SEARCH, train=suspended), trials=2, pruner="none")
    assert states(db) == {"finished": 2, "interrupted": 1}
    assert "another worker runs this trial again" in capsys.readouterr().err


def check_nothing_lost(db: str, total: int, workers: int = 2) -> None:
    """Every configuration that was begun has exactly one trial that came to an end."""
    found = {trial["number"]: trial for trial in records(db)}
    ended = [trial for trial in found.values() if trial["state"] in ("finished", "pruned", "failed")]
    assert total <= len(ended) < total + workers
    assert states(db).keys() <= {"finished", "pruned", "interrupted"}
    retried = [trial["retry_of"] for trial in found.values() if "retry_of" in trial]
    assert len(retried) == len(set(retried))
    assert sorted(retried) == [n for n, trial in found.items() if trial["state"] == "interrupted"]
    for trial in found.values():
        if "retry_of" in trial:
            old = found[trial["retry_of"]]["trial_parameters"]
            assert old.items() <= trial["trial_parameters"].items()
    assert len({trial["trial_parameters"]["x"] for trial in ended}) == len(ended)


def test_kill_9_at_any_moment_and_start_again(script, db):
    command = ("tests/toy_sweep.py", "--trials", 8, "--db", db, "--workers", 2)
    moments = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            script.arguments(*command),
            cwd=script.folder,
            env={**os.environ, **SHORT, "TOY_SLEEP": "0.1"},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()  # the study is there, the workers start
        time.sleep(moments.uniform(0.8, 1.8))
        process.kill()
        process.communicate()
    done = script(*command, **SHORT)
    check_nothing_lost(db, 8)
    assert "Traceback" not in done.stderr


def test_two_workers_share_a_study_and_overshoot_by_one_at_most(script, db):
    done = script("tests/toy_sweep.py", "--trials", 13, "--db", db, "--workers", 2, TOY_SLEEP="0.01")
    check_nothing_lost(db, 13)
    workers = {trial["machine"]["process"] for trial in records(db)}
    assert len(workers) == 2
    threads = {trial["machine"]["threads"] for trial in records(db)}
    assert threads == {max(1, len(os.sched_getaffinity(0)) // 2)}
    assert done.stdout.count("] trial ") == len(records(db)) in (13, 14)


def test_a_trial_that_kills_its_process_fails_at_last_and_the_sweep_goes_on(script, db):
    """As the kernel does when memory runs out."""
    with trials.open_study(db, "toy", create=sweep.prepare(SEARCH, Settings()).about) as study:
        for x in (0.95, 0.2):  # none is left to chance
            study.enqueue_trial({"x": x})
    command = ("tests/toy_sweep.py", "--trials", 2, "--db", db, "--pruner", "none")
    done = script(*command, TOY_KILL="0.9", SWEEP_HEARTBEAT="0.1")
    killed = [trial for trial in records(db) if trial["trial_parameters"]["x"] > 0.9]
    assert [trial["state"] for trial in killed] == ["interrupted", "interrupted", "failed"]
    assert killed[-1]["reason"] == "the process was killed 3 times; out of memory?"
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
    assert states(db) == {"interrupted": 2, "waiting": 2}


def states_or_none(db: str) -> list[list[dict]]:
    try:
        # Counted when their configuration is there: then their training has begun.
        return [[trial for trial in records(db) if trial["config"]]]
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


def in_steps(*arguments, run, **keywords):
    for _ in run.progress(iter(range(4)), "epoch 1/1", 4):
        pass
    return SEARCH.train(*arguments, run=run, **keywords)


def test_a_long_trial_is_not_silent(db, monkeypatch, capsys):
    """Without a terminal, or beside other workers, there are lines, and not too many."""
    own = dataclasses.replace(SEARCH, train=in_steps)
    work(db, search=own, trials=1, quiet=False)
    assert "epoch" not in capsys.readouterr().out
    monkeypatch.setattr(worker, "SILENCE", -1)
    work(db, search=own, trials=2, quiet=False)
    assert "trial 1, epoch 1/1: 25%\n" in capsys.readouterr().out
    work(db, search=own, trials=3, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_of_the_running_trial(db, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    own = dataclasses.replace(SEARCH, train=in_steps)
    work(db, search=own, trials=1, quiet=False)
    assert "trial 0, epoch 1/1:   0%" in terminal.getvalue()
    work(db, search=own, trials=2, workers=2, pruner="none", quiet=False)
    assert "trial 1," not in terminal.getvalue()
    assert "epoch" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (99, "99 s"), (150, "2 min"), (11_100, "3 h 05 min")],
)
def test_the_time_left_is_read_at_a_glance(seconds, text):
    assert worker._duration(seconds) == text


@pytest.mark.parametrize(
    "words", [["--sweep-id", "x"], ["--engine", "wandb", "--wandb", "offline"], ["--engine", "wandb"]]
)
def test_wrong_flags_are_one_sentence(script, words):
    script("tests/toy_sweep.py", *words, status=2, WANDB_MODE="online")


@pytest.mark.parametrize(("kind", "limit"), [("ann", 40), ("svm", 150)])
def test_the_sweeps_of_the_models_on_the_bundled_digits(script, kind, limit):
    done = script(
        f"sweep_{kind}.py",
        "--dataset",
        "digits",
        "--limit",
        limit,
        "--trials",
        2,
        "--sampler",
        "random",
        "--seed",
        32,
    )
    (name,) = trials.study_names(f"sqlite:///{script.folder}/studies.db")
    assert name == kind
    assert "Study " + kind in done.stdout
    assert done.stdout.endswith("Next: python pareto.py\n")
    for trial in records(f"sqlite:///{script.folder}/studies.db", kind):
        assert trial["state"] in ("finished", "pruned"), trial
        assert trial["config"].keys() == __import__(f"train_{kind}").Config().values().keys()
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
