"""What every script's command line shares: exit codes, and flags that several scripts have.

Exit codes: 0 done, 2 with one sentence on standard error for what the user can mend, 130 on Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import toolkit
from toolkit.config import Config
from toolkit.files import ROOT, InputError, hide_password


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keep the description's lines, and show the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose help shows every default. The description may have several lines."""

    def __init__(self, description: str | None, **arguments: Any) -> None:
        super().__init__(description=description, formatter_class=_Formatter, **arguments)

    def error(self, message: str) -> NoReturn:
        """Print one sentence, without the usage that argparse puts before it, and exit with 2."""
        self.exit(2, f"{self.prog}: error: {_one_line(message)}\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the command line. Refuses `--limit=--`, which older versions of Python read as a list."""
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word[:-3]}: expected one argument")
        arguments = super().parse_args(args, namespace)
        # Weights & Biases records the command line: it must not get a database's password.
        sys.argv[:] = map(hide_password, sys.argv)
        return arguments


def _one_line(error: object) -> str:
    """Return the text of an error as one line; the name of a file may have several."""
    return " ".join(str(error).split("\n"))


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit. Only here do exceptions become exit codes."""
    # A process that a shell started in the background ignores SIGINT. Ours must always be stoppable.
    signal.signal(signal.SIGINT, toolkit.interrupt)
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a letter of a file's name
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of a pipe (`| head`) went away. That is no error, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (InputError, OSError) as error:
        print(f"{os.path.basename(sys.argv[0])}: error: {_one_line(error)}", file=sys.stderr)
        status = 2
    sys.exit(status)


def positive_int(text: str) -> int:
    """Read a count, an integer from 1, for argparse."""
    return _integer(text, 1, sys.maxsize)


def seed(text: str) -> int:
    """Read a seed, an integer from 0 to 2^32 - 1 as NumPy takes them, for argparse."""
    return _integer(text, 0, 2**32 - 1)


def _integer(text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{value} is not from {low} to {high}")
    return value


def add_config_flags(parser: argparse.ArgumentParser, config: type[Config]) -> None:
    """Add a flag for each field of a configuration.

    Tuples are given with commas (`--hidden 128,64`, an empty text for none). A flag that is not given stays
    out of the parsed arguments, so that presets, a trial's configuration and flags can be merged.
    """
    group = parser.add_argument_group("configuration")
    for field in fields(config):
        default, about = field.default, field.metadata
        shown = ",".join(map(str, default)) or "''" if isinstance(default, tuple) else default
        text = about["help"].replace("%", "%%")
        if about["choices"] and not isinstance(default, bool):
            text += f"; one of {', '.join(map(str, about['choices']))}"
        flags = ["--" + field.name.replace("_", "-")]
        arguments: dict[str, Any] = {"help": f"{text} (default: {shown})", "default": argparse.SUPPRESS}
        if isinstance(default, bool):
            arguments["action"] = argparse.BooleanOptionalAction
        else:
            arguments["type"] = _reader(type(default), about["words"])
            arguments["metavar"] = field.name.upper()
        if about["alone"] is not None:
            arguments |= {"nargs": "?", "const": about["alone"]}
        group.add_argument(*flags, **arguments)
        for old in (old for old, new in config.RENAMED.items() if new == field.name):
            hidden = {**arguments, "help": argparse.SUPPRESS, "dest": field.name}
            group.add_argument("--" + old.replace("_", "-"), **hidden)


def _reader(wanted: type, words: tuple[str, ...]) -> Callable[[str], Any]:
    """Return the function that reads a flag's text as a value of the wanted type."""

    def read(text: str) -> Any:
        if text in words:
            return text
        if wanted is not tuple:
            return wanted(text)
        try:
            return tuple(int(part) for part in text.split(",") if part.strip())
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers like 32,64") from None

    read.__name__ = wanted.__name__  # argparse names it: invalid int value
    return read


def given(arguments: argparse.Namespace, config: type[Config]) -> dict[str, Any]:
    """Return the values of a configuration that were given on the command line."""
    names = {field.name for field in fields(config)}
    return {name: value for name, value in vars(arguments).items() if name in names}


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as people read it: relative when it lies below the current folder or the toolkit's."""
    absolute = Path(path).resolve()
    above = [place for place in (Path.cwd(), ROOT) if absolute.is_relative_to(place)]
    return str(absolute.relative_to(above[0]) if above else path)


def processors() -> int:
    """Return how many processors this process may use; a container may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
