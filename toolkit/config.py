"""Hyperparameters, each declared once: its default, its range or choices, its help.

    @dataclass(frozen=True)
    class Config(config.Config):
        epochs: int = option(16, "passes over the training split", low=1, high=10_000)
        pooling: str = option("max", "between two stages", choices=("max", "average", "stride"))

    Config(epochs=0)    # InputError: wanted epochs from 1 to 10000; got 0.

The command line, the checks, the header of a model file and the labels in the report derive from these
fields. A field's type is the type of its default: int, float, bool, str, or a tuple of ints.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from toolkit.files import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

Other = TypeVar("Other", bound="Config")


def option(
    default: Any,
    help: str,
    *,
    choices: Collection[Any] = (),
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    most: int | None = None,
    words: Collection[str] = (),
    alone: Any = None,
) -> Any:
    """Declare a hyperparameter as a field of a `Config`.

    Parameters
    ----------
    choices : the only values that it may have.
    low, high : its range, both ends included; of a tuple, the range of each entry.
    above : an end of its range that is not included.
    most : how many entries a tuple may have.
    words : texts that may stand for a number, such as "scale".
    alone : the value of its flag when no value follows, as in `--augment`.
    """
    metadata = {"help": help, "choices": tuple(choices), "low": low, "high": high, "above": above}
    return field(default=default, metadata={**metadata, "most": most, "words": tuple(words), "alone": alone})


@dataclass(frozen=True)
class Config:
    """The base of all configurations. Making one checks every value.

    Raises
    ------
    InputError : a value of another type, out of its range, or not among the choices.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {}  # names in older records and on older command lines -> today's

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = _checked(entry.name, getattr(self, entry.name), entry.default, entry.metadata)
            object.__setattr__(self, entry.name, value)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Make a configuration from a record, which may have names from older versions.

        Raises InputError for a name that this configuration does not have, and for a wrong value.
        """
        current = {cls.RENAMED.get(name, name): value for name, value in values.items()}
        known = [entry.name for entry in fields(cls)]
        if unknown := sorted(set(current) - set(known)):
            raise InputError(f"unknown configuration {', '.join(unknown)}; known are {', '.join(known)}.")
        return cls(**current)

    def values(self) -> dict[str, Any]:
        """Return all values by name, as JSON has them: a tuple is a list."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def part(self, other: type[Other]) -> Other:
        """Return the fields that another configuration declares, as one of that class."""
        return other(**{entry.name: getattr(self, entry.name) for entry in fields(other)})


def known(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Return a value that is one of the choices. Raises InputError, with the list of them, for any other."""
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise InputError(f"unknown {name} {value!r}; known are {', '.join(map(str, choices))}.")
    return value


def _checked(name: str, value: Any, default: Any, about: Mapping[str, Any]) -> Any:
    """Return a field's value in the type of its default. Raises InputError for a wrong one."""
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)):
            raise InputError(f"wanted a list of whole numbers as {name}; got {value!r}.")
        if about["most"] is not None and len(value) > about["most"]:
            raise InputError(f"wanted at most {about['most']} numbers as {name}; got {len(value)}.")
        one = next(iter(default), 0)
        return tuple(_checked(name, entry, one, about) for entry in value)
    if value in about["words"] and isinstance(value, str):
        return value
    wanted = type(default)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        called = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[wanted]
        raise InputError(f"wanted {called} as {name}; got {value!r}.")
    if about["choices"]:
        return known(name, value, about["choices"])
    if wanted in (int, float):
        _check_range(name, value, about)
    return value


def _check_range(name: str, value: float, about: Mapping[str, Any]) -> None:
    low, high, above = (about[key] for key in ("low", "high", "above"))
    if low <= value <= high and value > above and abs(value) != math.inf:
        return
    ends = [f"above {above:g}"] if above > -math.inf else []
    ends += [f"from {low:g}"] if low > -math.inf else []
    ends += [f"to {high:g}"] if high < math.inf else []
    raise InputError(f"wanted {name} {' '.join(ends) or 'to be finite'}; got {value}.")
