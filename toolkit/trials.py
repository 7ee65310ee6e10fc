"""The record of sweeps: Optuna studies in a database, and their trials as plain dictionaries.

    for trial in read_trials("sqlite:///studies.db", "ann"):
        print(trial["number"], trial["state"], trial.get("accuracy"))

A trial is a dictionary, the same from a database as from a file that `pareto.py --json` wrote: study, number,
state (finished, pruned, failed, interrupted, running or waiting), started and ended (text), trial_parameters
(what was drawn), config (what `train` got), and what was recorded of it: metrics under the names of
`metrics.METRICS`, confusion (ten rows of ten counts, on the validation split), history (its epochs, as
`tracking.Run.epochs` holds them), images (how many it was trained on), command (of the sweep), engine, seed,
machine, versions, and the reason of a failure. A pruned trial has the metrics of its last epoch.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import files
from toolkit.files import InputError
from toolkit.metrics import METRICS, flat
from toolkit.tracking import current_names, read_epoch

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

DEFAULT_DB = "sqlite:///studies.db"
RECORDS = files.ROOT / "results"  # of the trials that come with the toolkit: a file for each study
# Seconds between two heartbeats of a running trial, and without one until its process counts as dead.
HEARTBEAT = float(os.environ.get("SWEEP_HEARTBEAT", 15))
GRACE = 6 * HEARTBEAT
MAX_RETRY = 2  # times that a trial is run again after its process was killed
ATTEMPTS = 10  # to create the tables while other processes do
ENDED = ("finished", "pruned", "failed")  # the states of trials that count towards the total
INTERNAL = ("state", "worker", "heartbeat", "interrupted")  # attributes of our own, or of older versions


def shipped(db: str | None, study: str) -> Path | None:
    """Return the file of a study that comes with the toolkit, or None if a database is to be read.

    The user's trials go first: the file is read when no database is named, and studies.db lacks the study.
    """
    path = RECORDS / f"{study}_trials.jsonl"
    if db is not None or not path.is_file() or (_has_own() and study in study_names(DEFAULT_DB)):
        return None
    return path


def _has_own() -> bool:
    return Path(str(database_url(DEFAULT_DB).database)).is_file()


def read_trials(db: str | None, study: str) -> list[dict[str, Any]]:
    """Return all trials of a study, oldest first.

    Parameters
    ----------
    db : URL of the database. None: studies.db, else the trials that come with the toolkit (`shipped`).

    Raises
    ------
    InputError : there is no such study, or the record is damaged.
    """
    if path := shipped(db, study):
        return read_export(path).get(study, [])
    db = db or DEFAULT_DB
    with open_study(db, study) as opened, _readable(f"the study {study!r} in {shown_url(db)}"):
        return [_checked(record_of(study, trial)) for trial in opened.get_trials(deepcopy=False)]


def read_export(path: str | os.PathLike[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the trials of each study in a file that `pareto.py --json` wrote.

    Raises InputError when a line of it is no trial.
    """
    studies: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(files.read_lines(path), start=1):
        try:
            studies.setdefault(str(row.get("study")), []).append(_checked(current_names(row)))
        except (ValueError, TypeError, AttributeError):
            raise InputError(
                f"{path} holds no trial in line {number}; pareto.py --json writes such files."
            ) from None
    return studies


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a trial. Raises ValueError when its entries are of other types, or a metric is no number."""
    kinds = {"study": str, "number": int, "state": str, "config": dict, "trial_parameters": dict}
    metrics = [row[name] for name in METRICS if row.get(name) is not None]
    if not all(isinstance(row.get(name), kind) for name, kind in kinds.items()):
        raise ValueError("a trial has entries of another type")
    if not all(type(value) in (int, float) and abs(value) < 1e100 for value in metrics):
        raise ValueError("a metric of a trial is no number")
    counts = row.get("confusion", [[0] * 10] * 10)
    if [[type(count) for count in digit] for digit in counts] != [[int] * 10] * 10:
        raise ValueError("a confusion matrix is not one")
    if "history" in row:
        row["history"] = [read_epoch(epoch) for epoch in row["history"]]
    return row


def study_names(db: str | None) -> list[str]:
    """Return the names of the studies in a database, sorted. Raises InputError when there is no database.

    With None, they are those in studies.db, or those that come with the toolkit if there is no such file.
    """
    if db is None and not _has_own():
        return sorted(path.stem.removesuffix("_trials") for path in RECORDS.glob("*_trials.jsonl"))
    url = database_url(db or DEFAULT_DB)
    with _one_sentence(url), _storage(url, create=False) as storage, _readable(url.render_as_string()):
        return sorted(study.study_name for study in storage.get_all_studies())


def kind_of(db: str | None, study: str) -> str:
    """Return the kind of model that a study searches, such as "ann"."""
    if shipped(db, study):
        return study
    with open_study(db or DEFAULT_DB, study) as opened:
        return str(opened.user_attrs.get("model", study))


def trial_config(db: str | None, study: str, number: int) -> dict[str, Any]:
    """Return the configuration of a finished trial, without what belongs to the machine.

    Raises
    ------
    InputError : no such database, study or trial, or a trial that did not finish.
    """
    for trial in read_trials(db, study):
        if trial["number"] == number:
            if trial["state"] != "finished":
                raise InputError(f"trial {number} of study {study!r} is {trial['state']}, not finished.")
            if not trial["config"]:
                raise InputError(f"trial {number} of study {study!r} has no configuration of this program.")
            return {key: value for key, value in trial["config"].items() if key not in ("jobs", "device")}
    raise InputError(f"there is no trial {number} in study {study!r}.")


def record_of(study: str, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return a trial as the dictionary that the module's docstring describes."""
    known = {name: value for name, value in trial.user_attrs.items() if name not in INTERNAL}
    history = [*trial.system_attrs.get("retry_history", []), known.get("retry_of")]
    if again := [number for number in history if number is not None]:
        known["retry_of"] = max(again)
    state = state_of(trial)
    if state == "failed":
        known.setdefault("reason", f"the process was killed {MAX_RETRY + 1} times; out of memory?")
    return files.jsonable(
        {
            "study": study,
            "number": trial.number,
            "state": state,
            "started": str(trial.datetime_start) if trial.datetime_start else None,
            "ended": str(trial.datetime_complete) if trial.datetime_complete else None,
            "trial_parameters": trial.params,
            "config": {},
            **flat(current_names(known)),
        }
    )


def state_of(trial: optuna.trial.FrozenTrial) -> str:
    """Return finished, pruned, failed, interrupted, running or waiting."""
    if trial.state.name != "FAIL":
        return {"COMPLETE": "finished"}.get(trial.state.name, trial.state.name.lower())
    # Optuna fails a trial whose process was killed, and queues it again unless that happened too often.
    killed = len(trial.system_attrs.get("retry_history", [])) >= MAX_RETRY
    gave_up = killed and "interrupted" not in trial.user_attrs
    return "failed" if gave_up or "reason" in trial.user_attrs else "interrupted"


def count_states(study: optuna.Study) -> Counter[str]:
    """Return how many trials there are in each state."""
    return Counter(state_of(trial) for trial in study.get_trials(deepcopy=False))


def count_ended(study: optuna.Study) -> int:
    """Return how many trials have ended and will not run again."""
    states = count_states(study)
    return sum(states[state] for state in ENDED)


@contextlib.contextmanager
def open_study(db: str, name: str, *, create: Mapping[str, Any] | None = None) -> Iterator[optuna.Study]:
    """Open a study, and close its connections at the end.

    Parameters
    ----------
    db : URL of the database, e.g. `sqlite:///studies.db` or `postgresql://user@host/database`.
    create : what a new study is about, `objectives` among it. When the study exists, each entry must be
        what the study has. None: the study must exist.

    Raises
    ------
    InputError : no such database, driver or study, a study of something else, or a database that fails
        while the study is open.
    """
    import optuna

    url = database_url(db)
    if not name.isprintable():
        raise InputError("the name of a study must consist of printable characters.")
    shown = url.render_as_string()
    with _one_sentence(url), _storage(url, create=create is not None) as storage:
        with _readable(f"the study {name!r} in {shown}"):
            if create is None:
                known = sorted(study.study_name for study in storage.get_all_studies())
                if name not in known:
                    there = f"it holds {', '.join(known) or 'none'}"
                    raise InputError(f"there is no study {name!r} in {shown}; {there}.")
                study = optuna.load_study(storage=storage, study_name=name)
            else:
                goals = [METRICS[metric].maximize for metric in create["objectives"]]
                directions: list[Any] = ["maximize" if goal else "minimize" for goal in goals]
                study = optuna.create_study(
                    storage=storage, study_name=name, directions=directions, load_if_exists=True
                )
                _check_about(study, create)
            study.get_trials(deepcopy=False)  # what is damaged is found before any work
        yield study


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn what Optuna and our own code raise on damaged records into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise InputError(f"{what} is damaged: {_cause(error)}.") from error


def _check_about(study: optuna.Study, about: Mapping[str, Any]) -> None:
    """Write what a new study is about, or compare it with what the study has."""
    trials = study.get_trials(deepcopy=False)  # looked for first: who adds trials has written the rest
    known = study.user_attrs
    if trials and "objectives" not in known:
        raise InputError(f"the study {study.study_name!r} was not made by this program.")
    for key, value in about.items():
        if key not in known:
            study.set_user_attr(key, value)
        elif known[key] != value:
            own, asked = (", ".join(v) if isinstance(v, list) else v for v in (known[key], value))
            raise InputError(
                f"the study {study.study_name!r} has {key} {own}, not {asked}: give another --study for it."
            )


def database_url(db: str) -> sqlalchemy.URL:
    """Return the URL with the driver that this project uses. Raises InputError for a wrong one."""
    import sqlalchemy
    import sqlalchemy.exc

    try:
        url = sqlalchemy.make_url(db)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise InputError(
            f"{files.hide_password(db)!r} is no database URL such as {DEFAULT_DB} or postgresql://user@host/name."
        ) from None
    kind, _, driver = url.drivername.partition("+")
    if kind not in ("sqlite", "postgresql", "postgres"):
        raise InputError(f"the database {kind!r} is not known; wanted sqlite or postgresql.")
    if kind == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise InputError("a SQLite study needs a file, such as sqlite:///studies.db.")
        return url
    return url.set(drivername=f"postgresql+{driver or 'psycopg'}")


def shown_url(db: str | None) -> str:
    """Return a database's URL without its password."""
    return database_url(db or DEFAULT_DB).render_as_string()


def database_flag(db: str | None) -> str:
    """Return what a command needs to read the same database, with a space before it; "" for the usual one."""
    return "" if db in (None, DEFAULT_DB) else f" --db {shown_url(db)}"


@contextlib.contextmanager
def _one_sentence(url: sqlalchemy.URL) -> Iterator[None]:
    """Turn the errors of a database, such as a full disk, into an InputError."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, StorageInternalError) as error:
        raise InputError(f"cannot use the database {url.render_as_string()}: {_cause(error)}.") from error


def _cause(error: BaseException) -> str:
    """Return the first line of what the database itself said."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


@contextlib.contextmanager
def _storage(url: sqlalchemy.URL, *, create: bool) -> Iterator[optuna.storages.RDBStorage]:
    """Open Optuna's storage in the database, and close its connections at the end."""
    import optuna
    import sqlalchemy
    import sqlalchemy.exc

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    shown = url.render_as_string()
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and not create and not Path(str(url.database)).is_file():
        raise InputError(f"there is no database {url.database}; sweep_ann.py and sweep_svm.py make one.")
    arguments = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    try:
        with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect():
            pass
    except ImportError as error:
        raise InputError(f"{shown} needs a driver: pip install 'psycopg[binary]' ({error}).") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise InputError(f"cannot open the database {shown}: {_cause(error)}.") from None
    try:
        storage = _open_tables(url.render_as_string(hide_password=False), arguments)
    except (RuntimeError, AssertionError, LookupError, ValueError) as error:  # of another version, or damaged
        raise InputError(f"cannot use the database {shown}: {_cause(error)}.") from error
    if sqlite and create:
        sqlalchemy.event.listen(storage.engine, "connect", _set_up_sqlite)
        sqlalchemy.event.listen(storage.engine, "begin", _lock_sqlite)
        storage.engine.dispose()
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _open_tables(url: str, arguments: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Return Optuna's storage, whose tables are made if they are missing."""
    from optuna import exceptions, storages
    from sqlalchemy import exc

    class Storage(storages.RDBStorage):
        def record_heartbeat(self, trial_id: int) -> None:
            # One that fails, as on a busy database, must not end the thread that gives them.
            with contextlib.suppress(exc.SQLAlchemyError, exceptions.OptunaError):
                super().record_heartbeat(trial_id)

    # Several processes that make the tables of an empty database at once get into each other's way.
    clash = (exc.OperationalError, exc.ProgrammingError, exc.IntegrityError, AssertionError)
    attempt = 0
    while True:
        attempt += 1
        try:
            return Storage(
                url,
                engine_kwargs=arguments,
                heartbeat_interval=HEARTBEAT,  # type: ignore[arg-type] # fractions work, and tests need them
                grace_period=GRACE,  # type: ignore[arg-type]
                heartbeat_stale_trial_callback=storages.RetryHeartbeatStaleTrialCallback(MAX_RETRY),
            )
        except (*clash, exceptions.StorageInternalError):
            if attempt == ATTEMPTS:
                raise
            time.sleep(random.uniform(0.05, 0.3) * attempt)


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # A trial is some forty transactions. With a write-ahead log they need not each wait for the disk. A kill
    # loses nothing; a power failure may lose the last few.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.isolation_level = None  # leave BEGIN to `_lock_sqlite`


def _lock_sqlite(connection: sqlalchemy.Connection) -> None:
    # SQLite has no SELECT FOR UPDATE, by which Optuna keeps two workers from taking the same trial.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
