"""The record of a sweep: an Optuna study in a database, safe against kills, shared by any number of workers.

    with open_study("sqlite:///studies.db", "ann") as study:
        for trial in study.records():
            print(trial["number"], trial["state"], trial["accuracy"])

Every trial is a trial of the Optuna study, whichever engine proposed it; its configuration, metrics and
state are user attributes. What several workers must agree on (which trial is next, whether the total is
reached, which trial was left behind by a process that died) is decided under one lock in the database.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier import InputError

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

DEFAULT_DB = "sqlite:///studies.db"
# Metrics of a trial that can be objectives; True: the more, the better.
MAXIMIZE: dict[str, bool] = {
    **dict.fromkeys(("accuracy", "macro_precision", "macro_recall", "macro_f1"), True),
    **dict.fromkeys(("worst_precision", "worst_recall", "drawn_accuracy"), True),
    **{f"{name}_{digit}": True for name in ("precision", "recall", "f1") for digit in range(10)},
    **dict.fromkeys(("loss", "log_loss", "latency", "size", "parameters", "train_seconds", "epochs"), False),
}
HEARTBEAT = 15.0  # seconds between two signs of life of a running trial
GRACE = 90.0  # seconds without one after which its process counts as dead
MAX_DEATHS = 3  # times that a process dies in a trial before the trial counts as failed
ATTEMPTS = 10  # to create the tables while others do
LOCK_NUMBER = 7_461_035_102_846  # of PostgreSQL's advisory lock: any number, the same for every worker


class Study:
    """A study that `open_study` opened.

    Attributes
    ----------
    optuna : the `optuna.Study` behind it.
    objectives : names of the metrics that it searches by.
    """

    def __init__(self, url: sqlalchemy.URL, study: optuna.Study, storage: optuna.storages.RDBStorage) -> None:
        self.url, self.optuna, self._storage = url, study, storage
        self.name = study.study_name
        self.info: dict[str, Any] = study.user_attrs
        self.objectives: list[str] = self.info.get("objectives", [])
        # trial number -> its last sign of life, and when this process first saw it
        self._signs: dict[int, tuple[Any, float]] = {}

    def claim(
        self,
        total: int,
        attributes: Mapping[str, Any],
        propose: Callable[[list[optuna.trial.FrozenTrial]], Any] = lambda trials: None,
        *,
        retry: bool = True,
    ) -> optuna.Trial | bool:
        """Take the next trial, as the only one of all workers that gets it.

        Parameters
        ----------
        total : finished, pruned, failed and running trials that the study shall have.
        attributes : written to the trial, such as the seed.
        propose : called with the trials so far, for a new one: its parameters and their distributions;
            None for the study's sampler to draw them; False for no new trial.
        retry : interrupted trials are run again, before new ones.

        Returns
        -------
        The trial; where there is none to run, whether any is still running elsewhere, and may be left behind.
        """
        with self.lock():
            self.bury_dead()
            trials = self.optuna.get_trials(deepcopy=False)
            states = [state_of(trial) for trial in trials]
            if sum(state in ("finished", "pruned", "failed", "running") for state in states) >= total:
                return "running" in states
            again = {trial.user_attrs.get("retry_of") for trial in trials}
            mine = {**attributes, "worker": worker_id(), "heartbeat": 0}
            for old, state in zip(trials, states, strict=True):
                if retry and state == "interrupted" and old.number not in again:
                    mine["retry_of"] = old.number
                    mine |= {key: old.user_attrs[key] for key in ("seed", "died") if key in old.user_attrs}
                    return self._create(old.params, old.distributions, mine)
            proposal = propose(trials)
            if proposal is False:
                return "running" in states
            if proposal is not None:
                parameters, distributions = proposal
                return self._create(parameters, distributions, mine)
            # Takes a trial that someone queued (optuna-dashboard can), else makes a new one.
            trial = self.optuna.ask()
            for key, value in mine.items():
                trial.set_user_attr(key, value)
            return trial

    def close_thread(self) -> None:
        """Give back this thread's connection to the database."""
        self._storage.remove_session()

    def remaining(self, total: int) -> int:
        """How many trials the study lacks to its total; 0 also while the last ones still run."""
        states = [state_of(trial) for trial in self.optuna.get_trials(deepcopy=False)]
        return max(0, total - sum(state in ("finished", "pruned", "failed", "running") for state in states))

    def end(
        self,
        trial: optuna.Trial,
        state: str,
        attributes: Mapping[str, Any],
        values: Sequence[float] | None = None,
    ) -> bool:
        """Close a trial; False where another worker had taken this one for dead, and the trial runs again.

        Parameters
        ----------
        state : finished, pruned, failed or interrupted.
        attributes : metrics, and the reason of a failure.
        values : of the objectives, for a finished trial.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        codes = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        try:
            for key, value in {**attributes, "state": state}.items():
                trial.set_user_attr(key, json.loads(json.dumps(value, default=_plain)))
            self.optuna.tell(trial, values, codes.get(state, TrialState.FAIL))
        except (UpdateFinishedTrialError, ValueError) as error:
            if isinstance(error, ValueError) and "Cannot tell" not in str(error):
                raise
            return False
        return True

    @contextlib.contextmanager
    def heartbeat(self, trial: optuna.Trial) -> Iterator[None]:
        """Gives signs of life of the trial while the block runs."""
        import sqlalchemy.exc
        from optuna.exceptions import OptunaError

        stop = threading.Event()
        key = self._storage.get_study_id_from_name(self.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(key, trial.number)

        def beat() -> None:
            count = 0
            while not stop.wait(HEARTBEAT):
                count += 1
                # The next one may get through; a trial that was taken away fails when it ends.
                with contextlib.suppress(OptunaError, sqlalchemy.exc.SQLAlchemyError):
                    self._storage.set_trial_user_attr(trial_id, "heartbeat", count)
            self._storage.remove_session()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def records(self) -> list[dict[str, Any]]:
        """Every trial, oldest first: number, state, times, parameters, and all that was recorded of it.

        Metrics of the ten digits are flat: `precision_0` to `f1_9`.
        """
        return [record_of(trial) for trial in self.optuna.get_trials(deepcopy=False)]

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one worker at a time; freed when its process dies."""
        with _lock(self._storage.engine):
            yield

    def _create(
        self, parameters: Mapping[str, Any], distributions: Mapping[str, Any], attributes: Mapping[str, Any]
    ) -> optuna.Trial:
        """A running trial with given parameters, in one transaction."""
        import optuna

        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(parameters),
            distributions=dict(distributions),
            user_attrs=dict(attributes),
        )
        study_id = self._storage.get_study_id_from_name(self.name)
        return optuna.Trial(self.optuna, self._storage.create_new_trial(study_id, template))

    def bury(self, pid: int) -> None:
        """Record that a process of this machine died in its trial, alone: its sweep goes on.

        Where a trial has ended several processes (the kernel kills one that takes too much memory), it counts
        as failed, so that the sweep comes past it. The kill of a whole sweep does not count.
        """
        with self.lock():
            for frozen in self._running():
                worker = frozen.user_attrs.get("worker") or {"pid": 0, "place": ""}
                if worker["pid"] != pid or worker["place"] != _place():
                    continue
                died = frozen.user_attrs.get("died", 0) + 1
                attributes = {"died": died}
                if died >= MAX_DEATHS:
                    attributes["reason"] = (
                        f"the process was killed in this trial {died} times; out of memory?"
                    )
                self._end_of_another(frozen, attributes)

    def bury_dead(self) -> None:
        """Mark running trials whose process died as interrupted; to be called in the lock."""
        now = time.monotonic()
        for frozen in self._running():
            worker, sign = frozen.user_attrs.get("worker"), frozen.user_attrs.get("heartbeat")
            if frozen.number not in self._signs or self._signs[frozen.number][0] != sign:
                self._signs[frozen.number] = (sign, now)
            silent = now - self._signs[frozen.number][1]
            # A trial without a worker: its process died in the lock, which this process holds now.
            if worker is None or not _may_live(worker) or silent > GRACE:
                self._end_of_another(frozen, {})

    def _running(self) -> list[optuna.trial.FrozenTrial]:
        from optuna.trial import TrialState

        return self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _end_of_another(self, frozen: optuna.trial.FrozenTrial, attributes: Mapping[str, Any]) -> None:
        import optuna

        study_id = self._storage.get_study_id_from_name(self.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, frozen.number)
        state = "failed" if "reason" in attributes else "interrupted"
        self.end(optuna.Trial(self.optuna, trial_id), state, attributes)


def state_of(trial: optuna.trial.FrozenTrial) -> str:
    """finished, pruned, failed, interrupted, running or waiting."""
    name = trial.state.name
    if name == "FAIL":
        return "failed" if "reason" in trial.user_attrs else "interrupted"
    return {"COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}[name]


def record_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """One trial as a flat dictionary; `config` and `trial_parameters` stay dictionaries."""
    flat = {key: value for key, value in trial.user_attrs.items() if key not in ("per_class", "confusion")}
    for name, values in trial.user_attrs.get("per_class", {}).items():
        flat.update({f"{name}_{digit}": value for digit, value in enumerate(values)})
    return {
        **flat,
        "number": trial.number,
        "state": state_of(trial),
        "started": trial.datetime_start,
        "ended": trial.datetime_complete,
        "trial_parameters": trial.params,
    }


@contextlib.contextmanager
def open_study(
    db: str, name: str, *, create: Mapping[str, Any] | None = None, quiet: bool = True
) -> Iterator[Study]:
    """Open a study, and close its connections at the end.

    Parameters
    ----------
    db : URL of the database, e.g. `sqlite:///studies.db` or `postgresql://user@host/database`.
    create : what a new study is about, `objectives` among it; where the study exists already, each entry
        must be what the study has. None: the study must exist.

    Raises
    ------
    InputError : no such database, driver or study, or a study of something else.
    """
    import optuna

    with _storage(db, create=create is not None) as (url, storage):
        shown = url.render_as_string()
        known = [study.study_name for study in storage.get_all_studies()]
        if create is None:
            if name not in known:
                there = f"it holds {', '.join(sorted(known))}" if known else "it holds none"
                raise InputError(f"there is no study {name!r} in {shown}; {there}.")
        else:
            # In the lock, for the study and what it is about come into being in several steps.
            with _lock(storage.engine):
                objectives = create["objectives"]
                study = optuna.create_study(
                    storage=storage,
                    study_name=name,
                    directions=["maximize" if MAXIMIZE[metric] else "minimize" for metric in objectives],
                    load_if_exists=True,
                )
                about = study.user_attrs
                if not about.get("objectives") and study.get_trials(deepcopy=False):
                    raise InputError(f"the study {name!r} in {shown} was not made by this program.")
                if "objectives" not in about:
                    # `objectives` last: where it is, the rest is.
                    for key, value in sorted(create.items(), key=lambda item: item[0] == "objectives"):
                        study.set_user_attr(key, value)
        study = optuna.load_study(storage=storage, study_name=name)
        for key, value in (create or {}).items():
            own = study.user_attrs.get(key)
            if own != value:
                raise InputError(
                    f"the study {name!r} in {shown} has {key} {_short(own)}, not {_short(value)}: "
                    "give another --study for it."
                )
        yield Study(url, study, storage)


def study_names(db: str) -> list[str]:
    """The names of the studies in a database, sorted; InputError where there is none."""
    with _storage(db, create=False) as (_, storage):
        return sorted(study.study_name for study in storage.get_all_studies())


def trial_config(db: str | None, study: str, number: int) -> dict[str, Any]:
    """The configuration of a finished trial, as `train` takes it; without what is of the machine.

    Raises
    ------
    InputError : no such database, study or trial, or a trial that did not finish.
    """
    with open_study(db or DEFAULT_DB, study) as opened:
        for record in opened.records():
            if record["number"] == number:
                if record["state"] != "finished":
                    raise InputError(f"trial {number} of study {study!r} is {record['state']}, not finished.")
                return {
                    key: value for key, value in record["config"].items() if key not in ("jobs", "device")
                }
        raise InputError(f"there is no trial {number} in study {study!r}.")


def database_url(db: str) -> sqlalchemy.URL:
    """The parsed URL, with the driver that this project uses; InputError where it is none."""
    import sqlalchemy
    import sqlalchemy.exc

    try:
        url = sqlalchemy.make_url(db)
    except sqlalchemy.exc.ArgumentError:
        raise InputError(
            f"{db!r} is no database URL such as {DEFAULT_DB} or postgresql://user@host/name."
        ) from None
    kind, _, driver = url.drivername.partition("+")
    drivers = {
        "sqlite": "",
        "postgresql": "psycopg",
        "postgres": "psycopg",
    }
    if kind not in drivers:
        raise InputError(f"the database {kind!r} is not known; wanted sqlite or postgresql.")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise InputError("a SQLite study needs a file, such as sqlite:///studies.db.")
    driver = driver or drivers[kind]
    kind = "postgresql" if kind == "postgres" else kind
    return url.set(drivername=f"{kind}+{driver}" if driver else kind)


def worker_id() -> dict[str, Any]:
    """What tells this process from every other one, on any machine."""
    pid = os.getpid()
    return {"host": platform.node(), "place": _place(), "pid": pid, "started": _process_start(pid)}


@contextlib.contextmanager
def _storage(db: str, *, create: bool) -> Iterator[tuple[sqlalchemy.URL, optuna.storages.RDBStorage]]:
    import optuna
    import sqlalchemy
    import sqlalchemy.exc

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = database_url(db)
    shown = url.render_as_string()
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and not create and not Path(str(url.database)).is_file():
        raise InputError(f"there is no database {url.database}; sweep_ann.py and sweep_svm.py make one.")
    arguments = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    try:
        engine = sqlalchemy.create_engine(url, **arguments)
        with engine.connect():
            pass
    except ImportError as error:
        package = "psycopg[binary]" if url.get_backend_name() == "postgresql" else url.get_driver_name()
        raise InputError(f"{shown} needs a driver: pip install '{package}' ({error}).") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"cannot open the database {shown}: {reason}.") from None
    try:
        with _lock(engine):
            storage = _open_tables(url.render_as_string(hide_password=False), arguments)
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"cannot use the database {shown}: {reason}.") from error
    finally:
        engine.dispose()
    try:
        yield url, storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _open_tables(url: str, arguments: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Optuna's storage; its tables are made where they are missing.

    The lock keeps our own workers apart; another program (optuna-dashboard, an older version) may make
    the tables at the same instant, which fails in one of them.
    """
    import optuna
    import sqlalchemy.event
    import sqlalchemy.exc

    for attempt in range(ATTEMPTS):
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
            if storage.engine.name == "sqlite":
                sqlalchemy.event.listen(storage.engine, "connect", _set_up_sqlite)
                storage.engine.dispose()
            return storage
        except (
            sqlalchemy.exc.OperationalError,
            sqlalchemy.exc.ProgrammingError,
            sqlalchemy.exc.IntegrityError,
            optuna.exceptions.StorageInternalError,
            AssertionError,
        ):
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.05, 0.3) * (attempt + 1))
    raise AssertionError("not reached")


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # A trial is some forty transactions; with a write-ahead log they need not wait for the disk, each.
    # Neither a killed process nor a power failure can damage the file; the latter may lose the last ones.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


@contextlib.contextmanager
def _lock(engine: sqlalchemy.Engine) -> Iterator[None]:
    """One lock a database, freed by the database or the operating system when its holder dies."""
    from sqlalchemy import text

    backend = engine.url.get_backend_name()
    if backend == "sqlite":
        # A transaction on the study's own file would keep Optuna's connection out: one on a file beside it.
        connection = sqlite3.connect(f"{engine.url.database}-lock", timeout=600, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            connection.close()
        return
    with engine.connect() as server, server.begin():
        if backend == "postgresql":
            # A machine that vanishes from the network shall not keep the lock for hours.
            server.execute(text("SET LOCAL idle_in_transaction_session_timeout = '120s'"))
            server.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
            yield
        else:
            server.execute(text("SELECT GET_LOCK('digits_study', 600)"))
            try:
                yield
            finally:
                server.execute(text("SELECT RELEASE_LOCK('digits_study')"))


def _may_live(worker: Mapping[str, Any]) -> bool:
    """False where a process surely died: it was one of this machine, and is not there any more."""
    if not worker["place"] or worker["place"] != _place():
        return True
    return _process_start(worker["pid"]) == worker["started"]


def _place() -> str:
    """What processes share whose numbers are of one counting: boot and namespace; "" where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process_start(pid: int) -> str | None:
    """When a process started, in the system's clock ticks; None where there is no such process."""
    try:
        # The name in parentheses may hold spaces; the 22nd field is the 20th after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None


def _plain(value: Any) -> Any:
    """A NumPy number or array as JSON has it, and anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
