"""Sweeps of several processes on a real PostgreSQL server, which the test starts on the loopback address."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from classifier import InputError
from toolkit import sweep, trials
from toolkit.sweep import Settings

import pytest
from toy_sweep import SEARCH

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("postgres")]
WORKERS = 4


def programs() -> Path:
    """The folder with the server's programs: on the path, or where Debian has them."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("there is no PostgreSQL server here (Debian's package is `postgresql`)")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an empty server, without the database's name."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    folder = programs()
    arguments: dict = {}
    if os.getuid() == 0:
        # PostgreSQL refuses to run as root.
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root cannot run PostgreSQL, and there is no user postgres")
        arguments = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="digits-postgres-") as home:
        if arguments:
            os.chown(home, arguments["user"], arguments["group"])
        data = Path(home) / "data"
        made = subprocess.run(
            [folder / "initdb", "-D", data, "-U", "digits", "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=home,
            capture_output=True,
            text=True,
            **arguments,
        )
        if made.returncode:
            pytest.skip(f"initdb fails here: {made.stderr.strip().splitlines()[-1]}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "port": port,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(Path(home) / "log", "wb") as log:
            process = subprocess.Popen(
                [folder / "postgres", "-D", data, *words], cwd=home, stdout=log, stderr=log, **arguments
            )
        try:
            wait_for(port, process, Path(home) / "log")
            yield f"postgresql://digits@127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(timeout=30)


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"host=127.0.0.1 port={port} user=digits dbname=postgres").close()
            return
        time.sleep(0.1)


@pytest.fixture
def db(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new, empty database."""
    import psycopg

    name = request.node.name.translate({ord(c): "_" for c in "[]-"})[:60]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server}/{name}"


def work(db: str, barrier, trials: int) -> None:
    barrier.wait()
    sweep.work(SEARCH, Settings(db=db, trials=trials, pruner="none", quiet=True))


@contextlib.contextmanager
def started(db: str, trials: int) -> Iterator[list]:
    """Workers that all open the database in the same instant; when the block ends, all have ended."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS)
    processes = [context.Process(target=work, args=(db, barrier, trials)) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.join(90)


def records(db: str) -> list[dict]:
    return trials.read_trials(db, "toy")


def test_four_workers_start_at_once_on_an_empty_database(db, monkeypatch):
    monkeypatch.setenv("TOY_SLEEP", "0.01")
    with started(db, trials=24) as processes:
        pass
    assert [process.exitcode for process in processes] == [0] * WORKERS
    found = records(db)
    assert [trial["number"] for trial in found] == list(range(len(found)))
    assert 24 <= len(found) < 24 + WORKERS
    assert {trial["state"] for trial in found} == {"finished"}
    assert len({trial["trial_parameters"]["x"] for trial in found}) == len(found)
    assert len({trial["machine"]["process"] for trial in found}) == WORKERS


def test_killed_workers_trials_are_run_by_the_others(db, monkeypatch):
    monkeypatch.setenv("TOY_SLEEP", "0.1")
    monkeypatch.setenv("SWEEP_HEARTBEAT", "1")
    with started(db, trials=16) as processes:
        deadline = time.monotonic() + 60
        while len(begun := begun_trials(db)) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running = [trial for trial in begun if trial["state"] == "running"]
        killed = [process for process in processes if process.pid == running[-1]["machine"]["process"]]
        killed[0].kill()
    assert sorted(process.exitcode for process in processes) == [-signal.SIGKILL, 0, 0, 0]
    found = records(db)
    states = [trial["state"] for trial in found]
    assert 16 <= states.count("finished") < 16 + WORKERS
    assert states.count("interrupted") == len(found) - states.count("finished") == 1
    (again,) = (trial for trial in found if "retry_of" in trial)
    assert found[again["retry_of"]]["trial_parameters"] == again["trial_parameters"]


def begun_trials(db: str) -> list[dict]:
    try:
        return [trial for trial in records(db) if trial["config"]]
    except InputError:
        return []  # the workers have not made the study yet


def test_the_command_line_with_two_workers_and_the_front(script, db):
    secret = db.replace("digits@", "digits:secret@")  # this server does not ask for one
    words = ("--db", secret, "--trials", 4, "--workers", 2, "--pruner", "none", "--wandb", "offline")
    done = script("tests/toy_sweep.py", *words)
    assert "[4/4]" in done.stdout
    count = len(records(db))
    assert count in (4, 5)
    assert {trial["state"] for trial in records(db)} == {"finished"}
    shown = script("pareto.py", "--db", secret, "--objectives", "accuracy", "parameters").stdout
    assert "Next: python train_toy.py --from-trial " in shown
    for text in (done.stdout, done.stderr, shown):
        assert "secret" not in text
    written = [path.read_bytes() for path in script.folder.rglob("*") if path.is_file()]
    assert written
    assert not any(b"digits:secret@" in content for content in written)
    assert f"of {count} trials on the front" in shown
    assert trials.trial_config(db, "toy", 3)["epochs"] == 4
    other = script("tests/toy_sweep.py", "--db", f"{db}_missing", status=2)
    assert "does not exist" in other.stderr
