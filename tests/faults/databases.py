"""Damaged studies and results: every program that reads them does, or says one sentence."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import classifier
import pareto
import report
import train_ann
import train_svm
from softmax import Softmax
from toolkit import files, sweep, trials

import harness
import numpy as np
import toy_sweep
from harness import Case, damage, damage_json, to_json

DB = "sqlite:///studies.db"
RESULTS = harness.ROOT / "results"
TRIALS = 12  # of each study: enough for importances


def add_recorded(kind: str) -> None:
    """Add a study of the first trials in `results/`, so that `--from-trial` finds real configurations."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    (rows,) = trials.read_export(RESULTS / f"{kind}_trials.jsonl").values()
    rows = [row for row in rows if row["state"] in states][:TRIALS]
    values: dict[str, list[Any]] = {}
    for name, value in (pair for row in rows for pair in row["trial_parameters"].items()):
        values.setdefault(name, []).append(value)
    kinds: dict[str, Any] = {}
    for name, drawn in values.items():
        if all(type(value) is float for value in drawn):
            kinds[name] = FloatDistribution(min(drawn), max(drawn))
        elif all(type(value) is int for value in drawn):
            kinds[name] = IntDistribution(min(drawn), max(drawn))
        else:
            kinds[name] = CategoricalDistribution(list(dict.fromkeys(drawn)))
    with trials.open_study(DB, kind, create={"model": kind, "objectives": ["loss"]}) as study:
        for row in rows:
            own = ("study", "number", "state", "started", "ended", "trial_parameters")
            study.add_trial(
                create_trial(
                    state=states[row["state"]],
                    value=row["loss"],
                    params=row["trial_parameters"],
                    distributions={name: kinds[name] for name in row["trial_parameters"]},
                    user_attrs={name: value for name, value in row.items() if name not in own},
                )
            )


def make_database() -> None:
    """Make studies.db: a sweep, two recorded studies, and one of another program."""
    import optuna

    sweep.work(toy_sweep.SEARCH, sweep.Settings(db=DB, trials=TRIALS, quiet=True))
    add_recorded("svm")
    add_recorded("ann")
    storage = optuna.storages.RDBStorage(DB)
    other = optuna.create_study(storage=storage, study_name="other", directions=["minimize", "maximize"])
    other.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), 3)
    storage.remove_session()
    storage.engine.dispose()


def damage_rows(path: Path, rng: np.random.Generator) -> None:
    """Change, remove or repeat values in some table, as SQLite allows them."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        table = str(rng.choice([*tables, *["trial_user_attributes", "study_user_attributes"] * 6]))
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        rows = [row for (row,) in connection.execute(f"SELECT rowid FROM {table}")]
        kind = rng.random()
        if kind < 0.03:
            connection.execute(f"DROP TABLE {table}")
            return
        if not rows:
            return
        own = rng.choice(rows, size=int(rng.integers(1, 1 + min(len(rows), 5))))
        for row in map(int, own):
            column = "value_json" if table.endswith("attributes") else str(rng.choice(columns))
            if kind < 0.15:
                connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
                continue
            (old,) = connection.execute(
                f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)
            ).fetchone() or ("",)
            if column.endswith("json") and rng.random() < 0.9:
                try:
                    known = json.loads(old or "null")
                except (ValueError, RecursionError):  # a row that was damaged just now
                    known = None
                new: Any = to_json(damage_json(known, rng))
            else:
                hostile = [None, -1, 0, 2**62, 1e308, "", "abc", "é😀", b"\0\xff", "9" * 5000, "[" * 9999]
                new = hostile[rng.integers(len(hostile))]
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))


def damage_database(original: Path, target: Path, rng: np.random.Generator) -> None:
    for beside in target.parent.glob(f"{target.name}*"):
        beside.unlink()
    shutil.copy(original, target)
    kind = rng.random()
    if kind < 0.4:
        content = bytearray(target.read_bytes())
        if rng.random() < 0.5:
            target.write_bytes(damage(bytes(content), rng))
            return
        for place in rng.integers(len(content), size=int(2 ** rng.uniform(0, 8))):  # in many pages
            content[place] = rng.integers(256)
        target.write_bytes(content)
    elif kind < 0.5:  # what a kill may leave beside it, damaged
        for ending in ("-wal", "-shm", "-journal"):
            if rng.random() < 0.6:
                Path(f"{target}{ending}").write_bytes(rng.bytes(int(2 ** rng.uniform(0, 14))))
    else:
        damage_rows(target, rng)


def readers(folder: Path) -> dict[str, Callable[[], str]]:
    """Return the programs that read a database, each with the shortest work."""
    model = folder / "model.safetensors"

    def script(main: Any, program: str, *words: object) -> Callable[[], str]:
        return lambda: harness.run_script(main, program, *words)

    short = ["--dataset", "digits", "--limit", "30", "--quiet", "--output", model, "--wandb", "disabled"]
    at_once = ["--epochs", "1", "--conv-channels", "2", "--hidden", "3"]

    def go_on() -> None:
        sweep.work(toy_sweep.SEARCH, sweep.Settings(db=DB, trials=TRIALS + 1, quiet=True))

    return {
        "pareto": script(pareto.main, "pareto.py", "--csv", "t.csv", "--json", "t.jsonl", "--db", DB),
        "pareto loss": script(pareto.main, "pareto.py", "--objectives", "loss", "size", "--study", "toy"),
        "studies": lambda: harness.refuses(files.InputError, lambda: report.read_studies(DB, folder)),
        "train_svm": script(train_svm.main, "train_svm.py", "--from-trial", "3", "--pca", "0", *short),
        "train_ann": script(train_ann.main, "train_ann.py", "--from-trial", "0", *at_once, *short),
        "sweep": script(go_on, "toy_sweep.py"),
    }


def database_cases(folder: Path, count: int) -> Iterator[Case]:
    make_database()
    original, target = Path("original.db"), Path("studies.db")
    with contextlib.closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    target.replace(original)
    programs = readers(folder)

    def case(name: str, number: int) -> Callable[[], str]:
        damage_database(original, target, np.random.default_rng(number))
        return programs[name]

    for name in programs:
        shutil.copy(original, target)
        assert programs[name]() == "valid", f"{name} does not read what is whole"
    for number in range(count):
        name = list(programs)[number % len(programs)]
        yield f"{name} {number}", case(name, number)


def run(folder: Path, count: int) -> list[str]:
    """Damage databases of studies."""
    trials.ATTEMPTS = 2  # to open a database that looks busy
    return harness.run_cases("databases", database_cases(folder, count), seconds=10)


# Results


def make_results(folder: Path) -> None:
    """Put a model, a few trials and all the records of `results/` into a folder."""
    shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns("*.pdf", "*.md", "pictures"))
    for path in folder.glob("*_trials.jsonl"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:TRIALS]))
    model = Softmax()
    model.trained_on = {"images": "digits/train", "count": 20, "seed": 0, "config": {"epochs": 3}}
    model.trained_on |= {"versions": {"numpy": "1"}, "from_trial": 3}
    model.metrics = {"accuracy": 0.5, "unsure_below": 0.7, "macro_precision": 0.5}
    model.save(folder / "models" / "softmax.safetensors")


def damage_result(folder: Path, rng: np.random.Generator) -> str:
    """Damage one of the files, and return its name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    path = paths[rng.integers(len(paths))]
    if rng.random() < 0.15:
        path.write_bytes(damage(path.read_bytes(), rng))
    elif path.suffix == ".safetensors":
        arrays, header = files.read_arrays(path)
        key = str(rng.choice(["trained_on", "trained_on", "metrics", "config"]))
        with contextlib.suppress(ValueError, TypeError):
            files.write_arrays(path, arrays, {**header, key: damage_json(header.get(key, {}), rng)})
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        place = int(rng.integers(len(rows)))
        if rng.random() < 0.5:
            rows = [damage_json(row, rng) if rng.random() < 0.3 else row for row in rows]
        else:
            rows[place] = damage_json(rows[place], rng)
        path.write_text("".join(f"{to_json(row)}\n" for row in rows))
    else:
        path.write_text(to_json(damage_json(json.loads(path.read_text()), rng)))
    return path.name


def result_cases(folder: Path, count: int) -> Iterator[Case]:
    original, target = folder / "original", folder / "results"
    make_results(original)
    words = ["--dataset", "digits", "--limit", "20", "--quiet", "--results", "results", "--runs", "runs"]

    def case(number: int) -> Case:
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(folder / "models", ignore_errors=True)
        shutil.copytree(original, target)
        name = damage_result(target, np.random.default_rng(number)) if number >= 0 else "whole"
        shutil.move(target / "models", folder / "models")
        return f"{name} {number}", lambda: harness.run_script(report.main, "report.py", *words)

    assert case(-1)[1]() == "valid"
    for number in range(count):
        yield case(number)


def run_results(folder: Path, count: int) -> list[str]:
    """Damage what report.py reads."""
    classifier.ROOT = folder
    return harness.run_cases("results", result_cases(folder, count), seconds=30)
