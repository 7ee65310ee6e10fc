"""A run: its configuration, its log and its results, in its own folder and on Weights & Biases.

    with Run("train-ann", config, wandb="auto") as run:
        run.log(1, {"train_loss": 0.31, "train_accuracy": 0.91})     # every epoch
        run.finish({"accuracy": 0.99})

The folder `runs/<stage>-<time>/` is the record that the other parts read: `config.json` (configuration,
command, machine, versions), `epochs.jsonl` (one line per epoch; the last one counts if it was repeated),
`metrics.json` (results and status), and what a stage adds (checkpoint, plots). Weights & Biases gets a copy.
No failure there costs a run.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import netrc
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from toolkit import commandline, files
from toolkit.files import InputError

if TYPE_CHECKING:
    from classifier import Classifier

    from typing_extensions import Self

RUNS = Path("runs")
WANDB_MODES = ("disabled", "auto", "online", "offline")
# In records that call the splits fit and choose, "train" is the average over the epoch's own batches.
OLD_NAMES = {
    "fit_loss": "train_loss",
    "fit_accuracy": "train_accuracy",
    "choose_loss": "val_loss",
    "choose_accuracy": "val_accuracy",
    "train_loss": "running_loss",
    "train_accuracy": "running_accuracy",
}
STATUSES = ("finished", "pruned", "failed", "interrupted")
WANDB_PROJECT = "digits"  # unless $WANDB_PROJECT names another
# Seconds that a run waits for Weights & Biases at most, at its start and again at its end. Giving up takes up
# to 2 more: without a network a run is delayed by at most 20.
WANDB_TIMEOUT = 8


class Run:
    """The record of one run. As a context manager, it records how a failed or interrupted run ended.

    Parameters
    ----------
    stage : what runs, e.g. "train-ann"; the folder's name starts with it.
    config : JSON-able; everything that decides the result, the seed included.
    wandb : one of `WANDB_MODES`; "auto" is online when a key is set, else disabled.
    group : under which Weights & Biases shows the run, e.g. the study of a trial.
    name : of the run on Weights & Biases; the folder's, unless given.
    quiet : print nothing.
    directory : the folder; None makes `runs/<stage>-<time>/`, False keeps no record on disk.
    resume : go on with the run in `directory`: its epochs are kept, and its run on Weights & Biases.
    resume_command : what to type, followed by the folder, to go on after Ctrl-C.

    Attributes
    ----------
    directory : Path, or None with directory=False.
    epochs : list of {"epoch": 1, "train_loss": ..., ...}, in order, each epoch once.
    wandb : the run of the `wandb` package, or None.

    Raises
    ------
    InputError : an unknown wandb mode, a directory that holds another run, or nothing to resume.
    """

    # Set once Weights & Biases could not be reached: a sweep's later trials must not wait for it again.
    _unreachable = False

    def __init__(
        self,
        stage: str,
        config: Mapping[str, Any],
        *,
        wandb: str = "disabled",
        group: str | None = None,
        name: str | None = None,
        quiet: bool = False,
        directory: str | os.PathLike[str] | Literal[False] | None = None,
        resume: bool = False,
        resume_command: str = "",
    ) -> None:
        if wandb not in WANDB_MODES:
            modes = ", ".join(WANDB_MODES)
            raise InputError(f"wanted a wandb mode out of {modes}; got {wandb!r}.")
        self.stage, self.config, self.quiet = stage, dict(config), quiet
        self.resume_command, self.finished = resume_command, False
        self.epochs: list[dict[str, float]] = []
        self.wandb: Any = None
        self._record: dict[str, Any] = {"stage": stage, "config": self.config}
        if resume and not directory:
            raise ValueError("wanted the directory of the run to resume.")
        self.directory = None if directory is False else Path(directory or new_directory(stage))
        if self.directory and resume:
            self._record = read_config(self.directory)
            self._record.setdefault("resumed", []).append(_now())
            self.epochs = read_epochs(self.directory)
        elif self.directory:
            if (self.directory / "config.json").exists():
                raise InputError(f"{self.directory} already holds a run; give another folder.")
            self._record |= {"started": _now(), **environment()}
        self._write("config.json", self._record)
        self.name = name or (self.directory.name if self.directory else None)
        self._start_wandb(wandb, group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or self.finished:
            return
        interrupted = issubclass(kind, KeyboardInterrupt)
        self.finish({}, status="interrupted" if interrupted else "failed")
        if interrupted and self.resume_command and not self.quiet:
            print(f"\nStopped; to go on: {self.resume_command} {self.directory}", flush=True)

    def log(self, epoch: int, metrics: Mapping[str, float], classifier: Classifier | None = None) -> None:
        """Record what an epoch, counted from 1, reached. Logging an epoch again replaces it.

        A sweep that stops the training here measures the classifier.
        """
        entry = {"epoch": epoch, **{name: float(value) for name, value in metrics.items()}}
        known = {other["epoch"]: other for other in self.epochs} | {epoch: entry}
        self.epochs = [known[number] for number in sorted(known)]
        if self.directory:
            files.append_line(self.directory / "epochs.jsonl", entry)
        if not self.quiet:
            # A training's configuration stands inside its run's, beside the data's.
            config = self.config.get("config", self.config)
            print(_epoch_line(entry, config.get("epochs")), flush=True)
        if self.wandb:
            with self._wandb_may_fail():
                self.wandb.log(dict(entry), step=epoch)

    def progress(self, iterable: Iterable[Any], description: str = "", total: int | None = None) -> Any:
        """Return the iterable as a `tqdm`, with a progress bar on a terminal and without one elsewhere.

        `set_postfix(loss=...)` shows numbers beside the bar.
        """
        from tqdm import tqdm

        # None: tqdm looks itself whether standard error is a terminal.
        disable = True if self.quiet else None
        return tqdm(iterable, total=total, desc=description, disable=disable, leave=False)

    def finish(
        self,
        metrics: Mapping[str, Any],
        *,
        status: str = "finished",
        pictures: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> None:
        """Record the results, and close the run.

        Parameters
        ----------
        metrics : JSON-able.
        status : one of `STATUSES`.
        pictures : PNG files by name, for Weights & Biases.
        """
        if status not in STATUSES:
            raise ValueError(f"wanted a status out of {STATUSES}; got {status!r}.")
        self._write("metrics.json", {"status": status, "ended": _now(), **metrics})
        self.finished = True
        if self.wandb:
            with self._wandb_may_fail():
                import wandb

                if not self.epochs and "train_loss" in metrics:
                    self.wandb.log(one_epoch(metrics), step=1)  # a model without epochs has both losses, too
                for name, path in (pictures or {}).items():
                    self.wandb.log({name: wandb.Image(os.fspath(path))})
                self.wandb.summary.update({"status": status, **files.jsonable(metrics)})
                if self.wandb.url and not self.quiet:  # offline there is none
                    print(f"Weights & Biases: sending, for at most {WANDB_TIMEOUT + 2} s ...", flush=True)
                self.wandb.finish(exit_code=0 if status in ("finished", "pruned") else 1)
        self.wandb = None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        if self.directory:
            files.write_json(self.directory / name, content)

    def _start_wandb(self, mode: str, group: str | None) -> None:
        if mode == "auto":
            mode = "online" if has_wandb_key() else "disabled"
        if mode == "disabled" or (mode == "online" and Run._unreachable):
            return
        if mode == "online" and not has_wandb_key():
            # Without a key, wandb would ask for one on the terminal.
            _warn("no key is set (run `wandb login`, or set WANDB_API_KEY)")
            return
        if mode == "online" and not self.quiet:
            print(f"Weights & Biases: connecting, for at most {WANDB_TIMEOUT + 2} s ...", flush=True)
        known = self._record.get("wandb", {})
        # Our own line says enough, and error reports only fail once more when it cannot be reached.
        os.environ |= {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        Run._unreachable = mode == "online"
        with self._wandb_may_fail():
            import wandb

            self.wandb = wandb.init(
                mode=mode,  # type: ignore[arg-type]
                project=known.get("project") or os.environ.get("WANDB_PROJECT") or WANDB_PROJECT,
                id=known.get("id"),
                resume="allow" if known else None,
                name=self.name,
                dir=self.directory,
                group=group,
                job_type=self.stage,
                config=self.config,
                settings=wandb.Settings(
                    init_timeout=WANDB_TIMEOUT,
                    finish_timeout=WANDB_TIMEOUT,
                    finish_timeout_raises=True,
                    console="off",
                ),
            )
            Run._unreachable = False
            url = self.wandb.url if mode == "online" else None
            self._record["wandb"] = {"id": self.wandb.id, "project": self.wandb.project, "url": url}
        if self.wandb:
            self._write("config.json", self._record)
            if not self.quiet:
                place = url or f"offline; `wandb sync {Path(self.wandb.dir).parent}` sends it later"
                print(f"Weights & Biases: {place}", flush=True)

    @contextlib.contextmanager
    def _wandb_may_fail(self) -> Iterator[None]:
        """Go on without Weights & Biases after its first failure, whatever that is."""
        try:
            yield
        except Exception as error:
            if is_wandb_stop(error):
                raise
            text = str(error).strip() or type(error).__name__
            _warn(text.splitlines()[0].rstrip("."))
            self.wandb = None


def new_directory(stage: str) -> Path:
    """Make the folder `runs/<stage>-<time>/`. Runs that start in the same second get a number."""
    name = f"{stage}-{time.strftime('%Y%m%d-%H%M%S')}"
    RUNS.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        directory = RUNS / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            break
    return directory


def read_config(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a run's `config.json`; its entry "config" is what the run was given.

    Raises InputError when there is none, or when it is damaged.
    """
    path = Path(directory) / "config.json"
    try:
        record = files.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{directory} is no run's folder: it has no config.json.") from None
    wanted = {"config": dict, "stage": str}
    wanted |= {name: kind for name, kind in (("resumed", list), ("wandb", dict)) if name in record}
    if not all(isinstance(record.get(name), kind) for name, kind in wanted.items()):
        raise InputError(f"{path} is damaged.")
    return record


def read_epochs(directory: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Read the epochs that a run logged, in order; [] when it logged none.

    A last line that a kill cut short is left out. Raises InputError when another line is damaged.
    """
    path = Path(directory) / "epochs.jsonl"
    epochs: dict[int, dict[str, float]] = {}
    for number, line in enumerate(files.read_lines(path), start=1):
        try:
            entry = read_epoch(line)
        except ValueError:
            raise InputError(f"{path} is damaged in line {number}.") from None
        epochs[int(entry["epoch"])] = entry
    return [epochs[number] for number in sorted(epochs)]


def read_epoch(line: Mapping[str, Any]) -> dict[str, float]:
    """Return an epoch as `Run.epochs` holds it, from its record. Raises ValueError when it is none."""
    entry = current_names(line)
    values = [value for value in entry.values() if value is not None]
    # No loss and no time comes near 1e100; a plot's axis cannot go much further.
    numbers = all(type(value) in (int, float) and not abs(value) >= 1e100 for value in values)
    if not numbers or type(entry.get("epoch")) is not int or entry["epoch"] < 1:
        raise ValueError("an epoch is no number, or one of its values is none")
    return {name: math.nan if value is None else value for name, value in entry.items()}


def one_epoch(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a training without epochs as an epoch: loss and accuracy of both splits."""
    names = ("loss", "accuracy")
    of_train = {f"train_{name}": metrics[f"train_{name}"] for name in names}
    return of_train | {f"val_{name}": metrics[name] for name in names if name in metrics}


def current_names(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a record under today's names; older records have others."""
    is_old = "fit_loss" in metrics or "choose_loss" in metrics
    return {OLD_NAMES.get(name, name) if is_old else name: value for name, value in metrics.items()}


def _epoch_line(entry: Mapping[str, float], epochs: int | None = None) -> str:
    """Write an epoch as one line: loss and accuracy of the splits, and the seconds spent so far."""
    number = f"{entry['epoch']:>{len(str(epochs))}}/{epochs}" if epochs else str(entry["epoch"])
    parts = [f"epoch {number}"]
    for split in ("train", "val"):
        loss, accuracy = entry.get(f"{split}_loss"), entry.get(f"{split}_accuracy")
        if loss is not None and accuracy is not None:
            parts.append(f"{split} loss {loss:.4f} accuracy {100 * accuracy:6.2f} %")
    if "seconds" in entry:
        parts.append(f"{entry['seconds']:.1f} s")
    return "   ".join(parts)


def environment() -> dict[str, Any]:
    """Return where a run runs: command, commit, machine, processor, and versions, without importing torch."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *map(files.hide_password, sys.argv[1:])]),
        "commit": _commit(),
        "machine": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "processors": commandline.processors(),
        "versions": files.versions("numpy", "torch", "scikit-learn"),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit that the program was checked out at, with "+" when files were changed since."""
    # A copy inside another repository must not get that repository's commit.
    command = ["git", f"--git-dir={files.ROOT / '.git'}", f"--work-tree={files.ROOT}"]
    command += ["describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def has_wandb_key() -> bool:
    """Return whether a key for Weights & Biases is set, in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    places = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for place in places:
        try:
            return netrc.netrc(os.path.expanduser(place)).authenticators(host) is not None
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def is_wandb_stop(error: BaseException) -> bool:
    """Return whether an exception is the one by which wandb.agent stops a trial: bare, and no subclass."""
    return type(error) is Exception and not error.args


def _warn(reason: str) -> None:
    print(f"Weights & Biases is left out: {reason}.", file=sys.stderr, flush=True)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
