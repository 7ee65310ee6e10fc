"""The space that a sweep searches: one dictionary, read by both engines.

    SPACE = {
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3},
        "parameters": {
            "kernel": {"values": ["rbf", "poly"]},
            "C": {"distribution": "log_uniform_values", "min": 0.1, "max": 100.0},
            "degree": {"min": 2, "max": 4},
            "epochs": {"value": 6},
        },
    }
    CONDITIONS = {"degree": {"kernel": ["poly"]}}

The format is that of a Weights & Biases sweep configuration (https://docs.wandb.ai/models/sweeps). It has
no conditional parameters: W&B always proposes the flat space. CONDITIONS says which values of another
parameter make one relevant; a parameter that is not relevant is left out of the trial's configuration and
of its record, whichever engine proposed it. Optuna's TPE, random and grid samplers do not even draw it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from classifier import InputError

if TYPE_CHECKING:
    import optuna

# distribution -> the keys that it needs, the keys that it may have
FORMS: dict[str, tuple[set[str], set[str]]] = {
    "constant": ({"value"}, set()),
    "categorical": ({"values"}, set()),
    "uniform": ({"min", "max"}, set()),
    "int_uniform": ({"min", "max"}, set()),
    "q_uniform": ({"min", "max"}, {"q"}),
    "log_uniform": ({"min", "max"}, set()),
    "log_uniform_values": ({"min", "max"}, set()),
}
GRID_POINTS = 5  # a continuous range on a grid; a step, an integer or a list of values is taken whole


@dataclass(frozen=True)
class Space:
    """A search space that was read and found right.

    Attributes
    ----------
    distributions : what Optuna draws each parameter from.
    constants : parameters with one value.
    conditions : parameter -> {other parameter: values of it that make this one relevant}.
    """

    distributions: dict[str, optuna.distributions.BaseDistribution]
    constants: dict[str, Any]
    conditions: Mapping[str, Mapping[str, list[Any]]] = field(default_factory=dict)

    def draw(self, choose: Callable[[str, Any], Any], *, flat: bool = False) -> dict[str, Any]:
        """The relevant parameters, each drawn by `choose(name, distribution)` after those it depends on.

        With `flat`, the others are drawn too, for samplers that want every parameter in every trial.
        """
        values: dict[str, Any] = dict(self.constants)
        relevant = dict(self.constants)
        for name in self._order():
            wanted = self._is_relevant(name, relevant)
            if name in self.distributions and (wanted or flat):
                values[name] = choose(name, self.distributions[name])
            if name in values and wanted:
                relevant[name] = values[name]
            else:
                relevant.pop(name, None)
        return relevant

    def read(self, proposal: Mapping[str, Any]) -> dict[str, Any]:
        """The relevant ones of all parameters that an engine proposed.

        Raises ValueError where one is missing or not in the space.
        """

        def take(name: str, distribution: Any) -> Any:
            if name not in proposal:
                raise ValueError(f"the proposal has no {name!r}.")
            value = proposal[name]
            if hasattr(distribution, "choices"):
                for choice in distribution.choices:
                    # JSON does not tell 3 from 3.0, and True equals 1.
                    if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                        return choice
            else:
                low, high = distribution.low, distribution.high
                slack = 1e-9 * max(abs(low), abs(high))
                if isinstance(value, (int, float)) and low - slack <= value <= high + slack:
                    return type(low)(min(max(value, low), high))
            raise ValueError(f"the proposed {name!r}, {value!r}, is not in the space.")

        return self.draw(take)

    def grid(self) -> dict[str, list[Any]]:
        """The values that a grid has on each parameter's axis."""
        return {name: _axis(distribution) for name, distribution in self.distributions.items()}

    def _is_relevant(self, name: str, relevant: Mapping[str, Any]) -> bool:
        return all(
            parent in relevant and relevant[parent] in values
            for parent, values in self.conditions.get(name, {}).items()
        )

    def _order(self) -> list[str]:
        """All names, parents first."""
        names: list[str] = []

        def visit(name: str) -> None:
            for parent in self.conditions.get(name, {}):
                visit(parent)
            if name not in names:
                names.append(name)

        for name in [*self.constants, *self.distributions]:
            visit(name)
        return names


def read_space(
    config: Mapping[str, Any], conditions: Mapping[str, Mapping[str, list[Any]]] | None = None
) -> Space:
    """Read a sweep configuration.

    Raises
    ------
    InputError : an entry that is wrong, or that an engine cannot express; the sentence names it.
    """
    conditions = conditions or {}
    distributions, constants = {}, {}
    for name, entry in normalise(config).items():
        if entry["distribution"] == "constant":
            constants[name] = entry["value"]
        else:
            distributions[name] = _distribution(name, entry)
    for name, parents in conditions.items():
        for parent, values in parents.items():
            if name not in {**distributions, **constants} or parent not in {**distributions, **constants}:
                raise InputError(
                    f"the condition of {name!r} on {parent!r} names a parameter that does not exist."
                )
            own: Any = distributions.get(parent)
            known: Any = [constants[parent]] if own is None else getattr(own, "choices", ())
            if isinstance(getattr(own, "low", None), int):
                known = range(own.low, own.high + 1)
            if any(value not in known for value in values):
                raise InputError(
                    f"the condition of {name!r} on {parent!r} has a value that {parent!r} never takes."
                )
    _refuse_cycles(conditions)
    return Space(distributions, constants, conditions)


def normalise(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of a sweep configuration, each with its `distribution` and with floats as floats.

    The bounds of {"min": 1, "max": 3} are integers and mean `int_uniform`, those of
    {"min": 0.0, "max": 0.5} are floats and mean `uniform`, as W&B has it.
    """
    parameters = config.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        raise InputError("the search space has no 'parameters'.")
    result = {}
    for name, entry in parameters.items():
        if not isinstance(entry, Mapping):
            raise InputError(f"the search space's entry {name!r} is not a dictionary.")
        if "parameters" in entry:
            raise InputError(f"the search space's entry {name!r} is nested, which Optuna cannot express.")
        entry = dict(entry)
        form = entry.pop("distribution", None) or _implied(name, entry)
        if form not in FORMS:
            raise InputError(
                f"the search space's entry {name!r} has the distribution {form!r}, which Optuna cannot "
                f"express; both engines know {', '.join(FORMS)}."
            )
        needed, optional = FORMS[form]
        if "probabilities" in entry:
            raise InputError(
                f"the search space's entry {name!r} has probabilities, which Optuna cannot express."
            )
        if not needed <= set(entry) <= needed | optional:
            raise InputError(
                f"the search space's entry {name!r} ({form}) wants {', '.join(sorted(needed))}; "
                f"it has {', '.join(sorted(entry)) or 'nothing'}."
            )
        if "min" in needed:
            entry = _check_bounds(name, form, entry)
        result[name] = {"distribution": form, **entry}
    return result


def _implied(name: str, entry: Mapping[str, Any]) -> str:
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    kinds = {type(entry.get("min")), type(entry.get("max"))}
    if kinds == {int}:
        return "int_uniform"
    if kinds == {float}:
        return "uniform"
    raise InputError(
        f"the search space's entry {name!r} needs a value, values, or min and max that are both "
        "integers (1) or both floats (1.0)."
    )


def _check_bounds(name: str, form: str, entry: dict[str, Any]) -> dict[str, Any]:
    numbers = {"q": 1.0, **entry} if form == "q_uniform" else entry
    if any(
        isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v)
        for v in numbers.values()
    ):
        raise InputError(f"the search space's entry {name!r} has a bound that is not a number.")
    low, high = numbers["min"], numbers["max"]
    if not low < high:
        raise InputError(
            f"the search space's entry {name!r} has min {low!r}, which is not below max {high!r}."
        )
    if form == "int_uniform" and not (isinstance(low, int) and isinstance(high, int)):
        raise InputError(f"the search space's entry {name!r} (int_uniform) wants integers as bounds.")
    if form == "log_uniform_values" and low <= 0:
        raise InputError(f"the search space's entry {name!r} ({form}) wants a min above 0.")
    if form == "q_uniform":
        q = numbers["q"]
        # W&B rounds to multiples of q, Optuna steps from the lower bound: the same only from a multiple.
        if q <= 0 or any(abs(bound / q - round(bound / q)) > 1e-9 for bound in (low, high)):
            raise InputError(
                f"the search space's entry {name!r} (q_uniform) wants min and max that are multiples of q."
            )
    # A float's bound written as 0 is an integer to W&B.
    return dict(numbers) if form == "int_uniform" else {key: float(value) for key, value in numbers.items()}


def _distribution(name: str, entry: Mapping[str, Any]) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    form = entry["distribution"]
    if form == "categorical":
        values = entry["values"]
        if not isinstance(values, (list, tuple)) or not values:
            raise InputError(f"the search space's entry {name!r} has no list of values.")
        for index, value in enumerate(values):
            if not isinstance(value, (type(None), bool, int, float, str)):
                raise InputError(
                    f"the search space's entry {name!r} has the value {value!r}, which Optuna cannot "
                    "express: only text, numbers, booleans and None."
                )
            if value in values[:index]:  # True equals 1, and a database keeps only one of them
                raise InputError(f"the search space's entry {name!r} has the value {value!r} twice.")
        return CategoricalDistribution(values)
    low, high = entry["min"], entry["max"]
    if form == "int_uniform":
        return IntDistribution(low, high)
    if form == "q_uniform":
        return FloatDistribution(low, high, step=entry["q"])
    if form == "log_uniform":
        return FloatDistribution(math.exp(low), math.exp(high), log=True)
    return FloatDistribution(low, high, log=form == "log_uniform_values")


def _axis(distribution: Any) -> list[Any]:
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    low, high = distribution.low, distribution.high
    if distribution.step:
        count = round((high - low) / distribution.step) + 1
        return [low + index * distribution.step for index in range(count)]
    shares = [index / (GRID_POINTS - 1) for index in range(GRID_POINTS)]
    if distribution.log:
        return [low, *(low * (high / low) ** share for share in shares[1:-1]), high]
    return [low, *(low + (high - low) * share for share in shares[1:-1]), high]


def _refuse_cycles(conditions: Mapping[str, Mapping[str, list[Any]]]) -> None:
    for start in conditions:
        seen, names = set(), set(conditions[start])
        while names:
            if start in names:
                raise InputError(f"the condition of {start!r} depends on {start!r} itself.")
            seen |= names
            names = {parent for name in names for parent in conditions.get(name, {})} - seen
