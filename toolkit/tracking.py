"""A run: its configuration, its log and its results, in its own folder and on Weights & Biases.

    with Run("train-ann", config, wandb="auto") as run:
        run.log(1, {"train_loss": 0.31, "train_accuracy": 0.91})     # every epoch
        run.finish({"accuracy": 0.99})

The folder `runs/<stage>-<time>/` is the record that the other parts read: `config.json` (configuration,
command, machine, versions), `epochs.jsonl` (one line per epoch), `metrics.json` (results and status), and
what a stage adds (checkpoint, plots). Weights & Biases gets a copy. No failure there costs a run.
"""

from __future__ import annotations

import math
import netrc
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from toolkit import commandline, files
from toolkit.files import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

RUNS = Path("runs")
WANDB_MODES = ("disabled", "auto", "online", "offline")
OLD_NAMES = {
    **{"fit_loss": "train_loss", "fit_accuracy": "train_accuracy"},
    **{"choose_loss": "val_loss", "choose_accuracy": "val_accuracy"},
}
STATUSES = ("finished", "pruned", "failed", "interrupted")
WANDB_PROJECT = "digits"  # unless $WANDB_PROJECT names another
# Seconds that a run waits for Weights & Biases at most, at its start and at its end. Giving up takes 2 to 6
# seconds more: without a network a run is delayed by less than 20.
WANDB_INIT_TIMEOUT, WANDB_FINISH_TIMEOUT = 12, 60


class Run:
    """The record of one run. As a context manager, it records how a failed or interrupted run ended.

    Parameters
    ----------
    stage : what runs, e.g. "train-ann"; the folder's name starts with it.
    config : JSON-able; everything that decides the result, the seed included.
    wandb : one of `WANDB_MODES`; "auto" is online when a key is set, else disabled.
    group : under which Weights & Biases shows the run, e.g. the study of a trial.
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
        quiet: bool = False,
        directory: str | os.PathLike[str] | Literal[False] | None = None,
        resume: bool = False,
        resume_command: str = "",
    ) -> None:
        if wandb not in WANDB_MODES:
            modes = ", ".join(WANDB_MODES)
            raise InputError(f"wanted a wandb mode out of {modes}; got {wandb!r}.")
        self.stage, self.config, self.quiet = stage, dict(config), quiet
        self.resume_command = resume_command
        self.finished = False
        self.epochs: list[dict[str, float]] = []
        self.wandb: Any = None
        self.directory: Path | None = None
        self._record: dict[str, Any] = {"stage": stage, "config": self.config}
        if resume and not directory:
            raise ValueError("wanted the directory of the run to resume.")
        if directory is None:
            self.directory = new_directory(stage)
        elif directory is not False:
            self.directory = Path(directory)
        if resume and self.directory is not None:
            self._record = read_config(self.directory)
            self._record.setdefault("resumed", []).append(_now())
            self.epochs = read_epochs(self.directory)
            self._write_epochs()
        elif self.directory is not None:
            if (self.directory / "config.json").exists():
                raise InputError(f"{self.directory} already holds a run; give another folder.")
            self._record |= {"started": _now(), **environment()}
        self._write("config.json", self._record)
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

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record what an epoch, counted from 1, reached. Logging an epoch again replaces it."""
        entry = {"epoch": epoch, **{name: float(value) for name, value in metrics.items()}}
        others = [known for known in self.epochs if known["epoch"] != epoch]
        replaces = len(others) < len(self.epochs)
        self.epochs = sorted([*others, entry], key=lambda known: known["epoch"])
        if self.directory is not None:
            if replaces:
                self._write_epochs()
            else:
                files.append_line(self.directory / "epochs.jsonl", entry)
        if not self.quiet:
            # A training's configuration stands inside its run's, beside the data's.
            config = self.config.get("config", self.config)
            print(epoch_line(entry, config.get("epochs")), flush=True)
        self._to_wandb(lambda run: run.log(dict(entry), step=epoch))

    def progress(self, iterable: Iterable[Any], description: str = "", total: int | None = None) -> Any:
        """Show the progress of an iteration, as quietly as the run is."""
        return progress(iterable, total=total, description=description, quiet=self.quiet)

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

        def end(run: Any) -> None:
            import wandb

            for name, path in (pictures or {}).items():
                run.log({name: wandb.Image(os.fspath(path))})
            run.summary.update({"status": status, **files.jsonable(metrics)})
            run.finish(exit_code=0 if status in ("finished", "pruned") else 1)

        self._to_wandb(end)
        self.wandb = None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        if self.directory is not None:
            files.write_json(self.directory / name, content)

    def _write_epochs(self) -> None:
        if self.directory is not None:
            files.write_lines(self.directory / "epochs.jsonl", self.epochs)

    def _start_wandb(self, mode: str, group: str | None) -> None:
        if mode == "auto":
            mode = "online" if has_wandb_key() else "disabled"
        if mode == "disabled":
            return
        if mode == "online" and not has_wandb_key():
            # Without a key, wandb would ask for one on the terminal.
            _warn("no key is set (run `wandb login`, or set WANDB_API_KEY)")
            return
        if mode == "online" and Run._unreachable:
            return
        if mode == "online" and not self.quiet:
            print("Weights & Biases: connecting, for at most 20 s ...", flush=True)
        known = self._record.get("wandb", {})
        # Its own error reports fail too when it cannot be reached, and say so on the terminal.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            import wandb

            wandb.setup(settings=wandb.Settings(silent=True))  # else it prints where it found the key
            self.wandb = wandb.init(
                mode=mode,  # type: ignore[arg-type]
                project=known.get("project") or os.environ.get("WANDB_PROJECT") or WANDB_PROJECT,
                id=known.get("id"),
                resume="allow" if known else None,
                name=self.directory.name if self.directory else None,
                dir=self.directory,
                group=group,
                job_type=self.stage,
                config=self.config,
                settings=wandb.Settings(
                    init_timeout=WANDB_INIT_TIMEOUT,
                    finish_timeout=WANDB_FINISH_TIMEOUT,
                    console="off",
                    silent=True,
                ),
            )
            url = self.wandb.url if mode == "online" else None
            self._record["wandb"] = {"id": self.wandb.id, "project": self.wandb.project, "url": url}
            place = url or f"offline; `wandb sync {Path(self.wandb.dir).parent}` sends it later"
        except Exception as error:  # whatever it is, the run goes on
            if is_wandb_stop(error):
                raise
            Run._unreachable = mode == "online"
            self.wandb = None
            _warn(_first_line(error))
            return
        self._write("config.json", self._record)
        if not self.quiet:
            print(f"Weights & Biases: {place}", flush=True)

    def _to_wandb(self, action: Callable[[Any], None]) -> None:
        """Do something with the run on Weights & Biases; its first failure is its last."""
        if self.wandb is None:
            return
        try:
            action(self.wandb)
        except Exception as error:  # whatever it is, the run goes on
            if is_wandb_stop(error):
                raise
            _warn(_first_line(error))
            self.wandb = None


def new_directory(stage: str) -> Path:
    """Make the folder `runs/<stage>-<time>/`. Runs that start in the same second get a number."""
    name = f"{stage}-{time.strftime('%Y%m%d-%H%M%S')}"
    RUNS.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        directory = RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir()
            return directory
        except FileExistsError:
            number += 1


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
        entry = current_names(line)
        values = [value for value in entry.values() if value is not None]
        # No loss and no time comes near 1e100; a plot's axis cannot go much further.
        numbers = all(type(value) in (int, float) and not abs(value) >= 1e100 for value in values)
        if not numbers or type(entry.get("epoch")) is not int or entry["epoch"] < 1:
            raise InputError(f"{path} is damaged in line {number}.")
        epochs[entry["epoch"]] = {k: math.nan if v is None else v for k, v in entry.items()}
    return [epochs[number] for number in sorted(epochs)]


def current_names(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a record under today's names; older records have others."""
    if not OLD_NAMES.keys() & metrics.keys():
        return dict(metrics)
    names = {"train_loss": "running_loss", "train_accuracy": "running_accuracy", **OLD_NAMES}
    return {names.get(name, name): value for name, value in metrics.items()}


def epoch_line(entry: Mapping[str, float], epochs: int | None = None) -> str:
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


def progress(
    iterable: Iterable[Any], *, total: int | None = None, description: str = "", quiet: bool = False
) -> Any:
    """Return the iterable as a `tqdm`, with a progress bar on a terminal and without one elsewhere.

    `set_postfix(loss=...)` shows numbers beside the bar.
    """
    from tqdm import tqdm

    # None: tqdm looks itself whether standard error is a terminal.
    return tqdm(iterable, total=total, desc=description, disable=True if quiet else None, leave=False)


def environment() -> dict[str, Any]:
    """Return where a run runs: command, commit, machine, processor, and versions, without importing torch."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *map(_without_password, sys.argv[1:])]),
        "commit": _commit(),
        "machine": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "processors": commandline.processors(),
        "versions": files.versions("numpy", "torch", "scikit-learn"),
    }


def _without_password(text: str) -> str:
    """Return a database's URL with *** in place of the password, and any other text as it is."""
    return re.sub(r"(://[^/@]*?):.*@", r"\1:***@", text)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit that the program was checked out at, with "+" when files were changed since."""
    command = ["git", "-C", str(files.ROOT)]
    try:
        answers = [
            subprocess.run([*command, *words], capture_output=True, text=True, timeout=5, check=True).stdout
            for words in (["rev-parse", "--show-toplevel", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = answers[0].split("\n")[:2]
    # A copy inside another repository must not get that repository's commit.
    return commit + ("+" if answers[1].strip() else "") if Path(top) == files.ROOT else None


def has_wandb_key() -> bool:
    """Whether Weights & Biases can be reached without asking: a key in the environment or the netrc file."""
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
    """Whether an exception is the one by which wandb.agent stops a trial: bare, and no subclass."""
    return type(error) is Exception and not error.args


def _warn(reason: str) -> None:
    print(f"Weights & Biases is left out: {reason}.", file=sys.stderr, flush=True)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
