"""What every script's command line shares: exit codes, and the flags that other programs rely on.

Exit codes: 0 done, 2 with one sentence on standard error for what the user can mend, 130 on Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from classifier import InputError


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's lines, and shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose help shows every default; `description` may have several lines."""

    def __init__(self, description: str | None, **arguments: Any) -> None:
        super().__init__(description=description, formatter_class=_Formatter, **arguments)

    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage that argparse puts before it."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit: the one place where exceptions become exit codes."""
    # A process that a shell started in the background ignores SIGINT; ours shall always be stoppable.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of a pipe (`| head`) went away: not an error, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (InputError, OSError) as error:
        print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def positive_int(text: str) -> int:
    """The argparse type of a count: an integer from 1."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def seed(text: str) -> int:
    """The argparse type of a seed: an integer from 0 to 2^32 - 1, as NumPy takes them."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value} is not from 0 to 4294967295")
    return value


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say which data: the same for training, testing and sweeps."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        metavar="DIR",
        help="where MNIST lies or is to be stored (default: $MNIST_DIR, else ./data, else a download)",
    )
    group.add_argument(
        "--dataset",
        choices=("mnist", "digits"),
        default="mnist",
        help="digits: the 1,797 small digits that come with scikit-learn, no download",
    )
    group.add_argument(
        "--limit", type=positive_int, metavar="N", help="only the first N images of each split, stratified"
    )


def add_config_flags(parser: argparse.ArgumentParser, options: Mapping[str, tuple[Any, str]]) -> None:
    """One flag for each entry of a configuration: its default's type is the flag's type.

    `options` maps a name to its default and its help. Lists are given with commas (`--hidden 128,64`,
    an empty text for none). A flag that is not given stays out of the parsed arguments, so that
    presets, a trial's configuration and the flags can be laid over one another.
    """
    group = parser.add_argument_group("configuration")
    for name, (default, text) in options.items():
        flag = "--" + name.replace("_", "-")
        shown = ",".join(map(str, default)) if isinstance(default, (list, tuple)) else default
        arguments: dict[str, Any] = {"help": f"{text} (default: {shown})", "default": argparse.SUPPRESS}
        if isinstance(default, bool):
            arguments["action"] = argparse.BooleanOptionalAction
        else:
            arguments["type"] = _list_of_int if isinstance(default, (list, tuple)) else type(default)
            arguments["metavar"] = name.upper()
        if name == "augment":  # the one entry that may also stand alone
            arguments.update(nargs="?", const=1.0, metavar="STRENGTH")
        group.add_argument(flag, **arguments)


def _list_of_int(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers like 32,64") from None


def shown(path: str | os.PathLike[str]) -> str:
    """A path as a person reads it: relative where it lies below the current folder."""
    absolute, here = Path(path).resolve(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else path)


def given(arguments: argparse.Namespace, names: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a configuration that were given on the command line."""
    return {name: value for name, value in vars(arguments).items() if name in names}
