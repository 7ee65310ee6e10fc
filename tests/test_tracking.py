"""A run's record on the disk, and Weights & Biases, whose failures must cost nothing."""

from __future__ import annotations

import http.server
import json
import math
import os
import signal
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from classifier import ROOT, InputError
from toolkit import tracking
from toolkit.tracking import Run

import pytest
from wandb_server import WandbServer

EPOCH = {"train_loss": 0.5, "train_accuracy": 0.9, "val_loss": 0.6, "val_accuracy": 0.875, "seconds": 1.25}


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """An empty folder to run in, and no key of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("WANDB_") or name == "NETRC"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(Run, "_unreachable", False)


class StandIn(types.ModuleType):
    """As much of the wandb package as a run uses; `fails` names the calls that raise."""

    def __init__(self, fails=()):
        super().__init__("wandb")
        self.fails, self.calls = fails, []
        self.id, self.project, self.url, self.dir = (
            "abc123",
            "digits",
            "https://example.org/abc123",
            "wandb/x/files",
        )
        self.summary = types.SimpleNamespace(update=lambda values: self.calls.append(("summary", values)))
        self.Settings, self.Image = dict, str

    def _call(self, name, arguments):
        if name in self.fails:
            raise RuntimeError(f"{name} broke\nand more lines")
        self.calls.append((name, arguments))
        return self

    def init(self, **arguments):
        return self._call("init", arguments)

    def log(self, values, step=None):
        self._call("log", {**values, "step": step})

    def finish(self, exit_code=None):
        self._call("finish", exit_code)


def stand_in(monkeypatch, *fails):
    module = StandIn(fails)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    return module


def test_the_record_of_a_run(capsys):
    run = Run("train-ann", {"seed": 5, "epochs": 12})
    assert run.directory.parent == tracking.RUNS
    assert run.directory.name.startswith("train-ann-2")
    record = json.loads((run.directory / "config.json").read_text())
    assert record["stage"] == "train-ann"
    assert record["config"] == {"seed": 5, "epochs": 12}
    assert {"python", "numpy", "torch", "scikit-learn"} <= set(record["versions"])
    assert record["processors"] >= 1
    assert {"started", "command", "commit", "machine", "system", "processor"} <= set(record)
    run.log(1, EPOCH)
    run.log(2, {**EPOCH, "train_loss": math.nan})
    assert [entry["epoch"] for entry in run.epochs] == [1, 2]
    assert run.epochs[0] == {"epoch": 1, **EPOCH}
    assert json.loads((run.directory / "epochs.jsonl").read_text().splitlines()[1])["train_loss"] is None
    assert math.isnan(tracking.read_epochs(run.directory)[1]["train_loss"])
    run.finish({"accuracy": 0.875, "log_loss": math.inf}, status="interrupted")
    metrics = json.loads((run.directory / "metrics.json").read_text())
    assert (metrics["status"], metrics["accuracy"], metrics["log_loss"]) == ("interrupted", 0.875, None)
    assert capsys.readouterr().out.splitlines()[0] == (
        "epoch  1/12   train loss 0.5000 accuracy  90.00 %   val loss 0.6000 accuracy  87.50 %   1.2 s"
    )


def test_a_quiet_run_and_one_without_a_folder(tmp_path, capsys):
    run = Run("trial", {}, directory=False, quiet=True)
    run.log(1, EPOCH)
    assert sum(run.progress(range(4), "adding")) == 6
    run.finish({})
    assert run.directory is None
    assert len(run.epochs) == 1
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_progress_prints_nothing_into_a_file(capsys):
    run = Run("trial", {}, directory=False)
    bar = run.progress(range(3), "adding", total=3)
    bar.set_postfix(loss=0.5)
    assert list(bar) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_runs_of_the_same_second_have_folders_of_their_own():
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: tracking.new_directory("trial"), range(24)))
    assert len(set(folders)) == 24
    assert all(folder.is_dir() for folder in folders)


def test_a_folder_holds_one_run(tmp_path):
    Run("train-ann", {}, directory=tmp_path / "mine")
    with pytest.raises(InputError, match="already holds a run"):
        Run("train-ann", {}, directory=tmp_path / "mine")
    with pytest.raises(InputError, match=r"has no config\.json"):
        Run("train-ann", {}, directory=tmp_path / "other", resume=True)
    with pytest.raises(ValueError, match="directory of the run to resume"):
        Run("train-ann", {}, resume=True)
    (tmp_path / "mine" / "config.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Run("train-ann", {}, directory=tmp_path / "mine", resume=True)


def test_a_resumed_run_goes_on_and_a_repeated_epoch_replaces():
    run = Run("train-ann", {"seed": 5}, quiet=True)
    for epoch in (1, 2, 3):
        run.log(epoch, EPOCH)
    with open(run.directory / "epochs.jsonl", "a") as file:
        file.write('{"epoch": 4, "train_lo')  # the kill came here
    again = Run("train-ann", {"seed": 5}, directory=run.directory, resume=True, quiet=True)
    assert [entry["epoch"] for entry in again.epochs] == [1, 2, 3]
    again.log(3, {**EPOCH, "train_loss": 0.25})
    again.log(4, EPOCH)
    kept = tracking.read_epochs(run.directory)
    assert kept == again.epochs
    assert [entry["epoch"] for entry in kept] == [1, 2, 3, 4]
    assert kept[2]["train_loss"] == 0.25
    record = tracking.read_config(run.directory)
    assert len(record["resumed"]) == 1
    assert record["config"] == {"seed": 5}


def test_epochs_cut_anywhere_keep_every_whole_line(tmp_path):
    lines = [json.dumps({"epoch": epoch, **EPOCH}) + "\n" for epoch in (1, 2, 3)]
    content = "".join(lines)
    for length in range(len(content) + 1):
        (tmp_path / "epochs.jsonl").write_text(content[:length])
        assert len(tracking.read_epochs(tmp_path)) == content[:length].count("\n")
    (tmp_path / "epochs.jsonl").write_text(lines[0] + lines[1][:9] + "\n" + lines[2])
    with pytest.raises(InputError, match="damaged in line 2"):
        tracking.read_epochs(tmp_path)


def test_a_killed_process_leaves_a_run_that_can_be_resumed(tmp_path):
    program = (
        "from toolkit import tracking\n"
        "run = tracking.Run('train-ann', {}, directory='killed', quiet=True)\n"
        "for epoch in range(1, 10**6):\n"
        "    run.log(epoch, {'train_loss': 1 / 3})\n"
        "    if epoch == 50: print('ready', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=_environment())
    with process:
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    run = Run("train-ann", {}, directory="killed", resume=True)
    assert len(run.epochs) >= 50
    assert [entry["epoch"] for entry in run.epochs] == list(range(1, len(run.epochs) + 1))


def test_what_a_subclass_raises_passes_through():
    class Pruned(Exception):
        pass

    class Trial(Run):
        def log(self, epoch, metrics):
            super().log(epoch, metrics)
            raise Pruned

    run = Trial("trial", {}, quiet=True)
    with pytest.raises(Pruned):
        run.log(1, EPOCH)
    run.finish({}, status="pruned")
    assert json.loads((run.directory / "metrics.json").read_text())["status"] == "pruned"


def test_unknown_words_are_refused():
    with pytest.raises(InputError, match="wandb mode out of disabled, auto, online, offline; got 'maybe'"):
        Run("train-ann", {}, wandb="maybe")
    with pytest.raises(ValueError, match="wanted a status"):
        Run("train-ann", {}).finish({}, status="done")


def test_a_run_imports_neither_torch_nor_wandb():
    program = (
        "import sys; from toolkit import tracking; tracking.Run('a', {}, wandb='auto')\n"
        "print('torch' in sys.modules, 'wandb' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=_environment()
    )
    assert ended.stdout == "False False\n"


def test_a_model_without_epochs_has_the_losses_of_both_splits_there(monkeypatch):
    wandb = stand_in(monkeypatch)
    run = Run("train-svm", {}, wandb="online", quiet=True, directory=False, name="svm 3")
    reached = {"train_loss": 0.01, "train_accuracy": 0.99, "loss": 0.02, "accuracy": 0.98}
    run.finish({**reached, "confusion": [[1]]})
    assert wandb.calls[0][1]["name"] == "svm 3"
    (logged,) = [entry for name, entry in wandb.calls if name == "log"]
    losses = {"train_loss": 0.01, "train_accuracy": 0.99, "val_loss": 0.02, "val_accuracy": 0.98}
    assert logged == {**losses, "step": 1}


def test_auto_is_online_where_a_key_is_set(tmp_path, monkeypatch):
    assert not tracking.has_wandb_key()
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {'k' * 40}\n")
    assert tracking.has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert not tracking.has_wandb_key()
    monkeypatch.setenv("NETRC", str(tmp_path / "broken"))
    (tmp_path / "broken").write_text("machine machine machine")
    assert not tracking.has_wandb_key()
    wandb = stand_in(monkeypatch)
    assert tracking.has_wandb_key()
    Run("train-ann", {}, wandb="auto", quiet=True)
    assert wandb.calls[0][1]["mode"] == "online"


def test_what_weights_and_biases_is_told(monkeypatch, tmp_path):
    wandb = stand_in(monkeypatch)
    run = Run("trial", {"seed": 5}, wandb="online", group="study", quiet=True)
    run.log(1, EPOCH)
    run.finish({"accuracy": 0.9}, pictures={"confusion": tmp_path / "confusion.png"})
    names = [name for name, _ in wandb.calls]
    assert names == ["init", "log", "log", "summary", "finish"]
    start = wandb.calls[0][1]
    assert (start["mode"], start["group"], start["config"]) == ("online", "study", {"seed": 5})
    assert start["settings"]["init_timeout"] + start["settings"]["finish_timeout"] < 20
    assert wandb.calls[1][1] == {"epoch": 1, "step": 1, **EPOCH}
    assert wandb.calls[2][1]["confusion"].endswith("confusion.png")
    assert wandb.calls[3][1] == {"status": "finished", "accuracy": 0.9}
    assert wandb.calls[4][1] == 0
    Run("trial", {"seed": 5}, wandb="online", directory=run.directory, resume=True, quiet=True)
    assert (wandb.calls[-1][1]["id"], wandb.calls[-1][1]["resume"]) == ("abc123", "allow")


@pytest.mark.parametrize("failing", ["init", "log", "finish"])
def test_a_failure_of_weights_and_biases_costs_one_line(failing, monkeypatch, capsys):
    wandb = stand_in(monkeypatch, failing)
    run = Run("train-ann", {}, wandb="online", quiet=True)
    for epoch in (1, 2, 3):
        run.log(epoch, EPOCH)
    run.finish({"accuracy": 0.9})
    assert capsys.readouterr() == ("", f"Weights & Biases is left out: {failing} broke.\n")
    assert len(tracking.read_epochs(run.directory)) == 3
    assert json.loads((run.directory / "metrics.json").read_text())["status"] == "finished"
    # Where it could not be reached, a sweep's next trial does not wait for it again.
    count = len(wandb.calls)
    Run("train-ann", {}, wandb="online", quiet=True)
    assert (len(wandb.calls) == count) == (failing == "init")


def test_without_the_package_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    Run("train-ann", {}, wandb="offline", quiet=True).finish({})
    assert capsys.readouterr().err.startswith("Weights & Biases is left out: ")


PROGRAM = """
import sys
from toolkit import tracking
tracking.WANDB_TIMEOUT = int(sys.argv[2])
run = tracking.Run("train-ann", {"seed": 5}, wandb=sys.argv[1], directory="real")
run.log(1, {"train_loss": 0.5, "train_accuracy": 0.9, "val_loss": 0.6, "val_accuracy": 0.875})
run.finish({"accuracy": 0.875, "confusion": [[1, 2], [3, 4]]})
"""


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def _run(mode: str, timeout: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real package, in a process of its own, with nobody to answer a question."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, str(timeout)],
        capture_output=True,
        text=True,
        timeout=120,
        env=_environment(**environment),
        stdin=subprocess.DEVNULL,
    )


def test_the_real_package_offline(tmp_path):
    ended = _run("offline")
    assert ended.returncode == 0
    assert ended.stderr == ""
    (binary,) = (tmp_path / "real" / "wandb").glob("offline-run-*/run-*.wandb")
    assert f"`wandb sync real/wandb/{binary.parent.name}`" in ended.stdout
    assert tracking.read_config("real")["wandb"]["id"] in binary.name


def test_the_real_package_without_a_key_asks_nothing():
    ended = _run("online")
    assert ended.returncode == 0
    assert ended.stderr.startswith("Weights & Biases is left out: no key is set")
    assert ended.stderr.count("\n") == 1


def test_the_real_package_with_a_malformed_key():
    ended = _run("online", WANDB_API_KEY="short")
    assert (ended.returncode, ended.stderr.count("\n")) == (0, 1)
    assert (len(tracking.read_epochs("real"))) == 1


@pytest.mark.server
@pytest.mark.parametrize("status", [401, 500, None])
def test_the_real_package_and_a_server_that_refuses(status):
    """401: it does not know the key; 500: it is broken; None: nobody listens."""

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        if status is not None:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
        else:
            server.server_close()
        try:
            ended = _run("online", WANDB_API_KEY="k" * 40, WANDB_BASE_URL=address)
        finally:
            if status is not None:
                server.shutdown()
                thread.join()
    assert ended.returncode == 0
    assert ended.stderr.startswith("Weights & Biases is left out: ")
    assert ended.stderr.count("\n") == 1
    assert json.loads(Path("real/metrics.json").read_text())["accuracy"] == 0.875


@pytest.mark.server
def test_the_real_package_and_a_network_that_goes_away(monkeypatch):
    gone, back, answer = threading.Event(), threading.Event(), WandbServer.answer

    def answer_until_gone(server, path, body):
        if gone.is_set():
            back.wait(60)
        if "file_stream" in path:  # the run has begun
            gone.set()
        return answer(server, path, body)

    monkeypatch.setattr(WandbServer, "answer", answer_until_gone)
    with WandbServer() as server:
        ended = _run("online", 3, **server.environment())
        back.set()
    assert ended.returncode == 0
    assert gone.is_set()
    assert "Weights & Biases: sending, for at most 5 s ...\n" in ended.stdout
    assert ended.stderr == "Weights & Biases is left out: Timed out finishing run.\n"
    assert json.loads(Path("real/metrics.json").read_text())["accuracy"] == 0.875
