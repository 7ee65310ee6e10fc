"""Files that a crash, a full disk, a link or a password must not spoil."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys

from conftest import ROOT
from toolkit import files, tracking
from toolkit.config import Config
from toolkit.files import InputError, append_line, check_writable, read_lines, write_safely

import pytest


def test_a_link_is_followed_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_safely(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="is not a regular file"):
            write_safely(path, b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_target_in_a_file_is_refused_and_nothing_is_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path / "file" / "model")
    check_writable(tmp_path / "new" / "model")
    assert not (tmp_path / "new").exists()


def test_the_root_of_the_disk_is_not_written_to():
    with pytest.raises(InputError, match="is not a regular file"):
        check_writable("/")


def test_lines_are_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    append_line(path, {"a": 1, "loss": float("nan")})
    with open(path, "ab") as file:
        file.write(b'{"a": 2, "cut sho')
    append_line(path, {"a": 3})
    assert read_lines(path) == [{"a": 1, "loss": None}, {"a": 3}]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_leaves_the_lines_that_were_there(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    append_line(path, {"a": 1})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    class Full:
        """A file of which half of what is written arrives."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            self.file.write(content[:5])
            self.file.flush()
            full()

    monkeypatch.setattr("builtins.open", lambda *words, _open=open, **more: Full(_open(*words, **more)))
    with pytest.raises(OSError, match="No space left"):
        append_line(path, {"a": 2})
    monkeypatch.undo()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"\xff", b"3"])
def test_what_is_no_json_object_is_one_sentence(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file\.json is damaged\.$"):
        files.read_json(path)
    path.write_bytes(b'{"a": 1}\n' + content + b"\n")
    with pytest.raises(InputError, match=r"damaged in line 2\.$"):
        read_lines(path)


@pytest.mark.parametrize("value", [0, -1, 10**400, float("nan"), float("inf"), True, "3", None, [3]])
def test_a_value_out_of_range_or_of_another_type_is_refused(value):
    import train_ann

    with pytest.raises(InputError, match=r"wanted .*epochs"):
        train_ann.Config.read({"epochs": value})
    with pytest.raises(InputError, match="unknown configuration epochs"):
        Config.read({"epochs": value})


def test_a_database_s_password_is_not_recorded(monkeypatch):
    words = [
        "train_ann.py",
        "--db",
        "postgresql://user:sec:r@t@host:5432/name",
        "--data",
        "C:/a@b",
        "http://a",
    ]
    monkeypatch.setattr(sys, "argv", words)
    command = tracking.environment()["command"]
    assert command == "train_ann.py --db postgresql://user:***@host:5432/name --data C:/a@b http://a"


def after_ctrl_c(program: str) -> tuple[str, str, int]:
    """Press Ctrl-C once a program is ready. Return what it prints from then on, its errors and its status."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    return (*process.communicate(timeout=60), process.returncode)


def test_ctrl_c_while_a_script_is_importing_ends_with_130():
    """As far as our own code goes: before it, only the interpreter starts."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import toolkit, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    assert after_ctrl_c(program) == ("", "Interrupted.\n", 130)


def test_ctrl_c_during_an_import_waits_until_it_is_done(tmp_path):
    """NumPy makes an ImportError of a KeyboardInterrupt, and PyTorch aborts."""
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    time.sleep(0.5)\n"
        "except BaseException:\n"
        "    raise ImportError from None\n"
        "print('there', flush=True)\n"
    )
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
        "import time\n"
        "from toolkit import commandline\n"
        "def main():\n"
        "    import slow\n"
        "    time.sleep(60)\n"
        "commandline.run(main)\n"
    )
    assert after_ctrl_c(program) == ("there\n", "Interrupted.\n", 130)


def test_an_accented_name_on_a_plain_terminal_is_no_error(script):
    done = script(
        "test_softmax.py", "--model", "zéro.safetensors", status=2, PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert "z\\xe9ro.safetensors" in done.stderr


def test_json_keeps_numbers(tmp_path):
    import numpy as np

    files.write_json(tmp_path / "a.json", {"n": np.float32(0.5), "list": np.arange(2), "inf": float("inf")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 0.5, "list": [0, 1], "inf": None}
