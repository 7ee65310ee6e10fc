"""Axes for metrics: their scales, and round numbers on them as the language writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolkit.metrics import METRICS, number

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


def metric_scale(
    axes: Axes, side: str, metric: str, values: Iterable[float], label: str, language: str
) -> None:
    """Set the scale, ticks and label of an axis for a metric's values.

    Shares are spaced by the logarithm of their distance to 100 %: 99.5 and 99.6 % stand well apart. Other
    metrics are logarithmic if their values span a factor of three.
    """
    from matplotlib.ticker import NullLocator

    about = METRICS[metric]
    axis, share = getattr(axes, f"{side}axis"), about.unit == "%"
    axis.set_label_text(label if share or not about.unit else f"{label} ({about.unit})")
    heights = [1 - value if share else value for value in values if math.isfinite(value)]
    positive = [height for height in heights if height > 0] or [0.01]
    if not share and (min(heights, default=0) <= 0 or max(positive) < 3 * min(positive)):
        linear(axis, about.factor, language)
        if heights:  # as much room as the other scales have, so that labels of points fit
            room = 0.08 * (max(heights) - min(heights) or abs(heights[0]) or 1)
            getattr(axes, f"set_{side}lim")(min(heights) - room, max(heights) + room)
        return
    # 100 % is infinitely far away on this scale, so it stands at the edge.
    whole = share and len(positive) < len(heights)
    low, high = min(positive) / (2 if whole else 1), max(positive)
    margin = max(1.2, (3 * low / high) ** 0.5)  # at least a factor of 3 from edge to edge
    low, high = low / margin, min(high * margin, 1) if share else high * margin
    ticks = _round_ticks(low * about.factor, high * about.factor) / about.factor
    if share:
        ticks = 1 - (np.append(ticks[ticks > 2 * low], 0) if whole else ticks)
        functions = (lambda s: -np.log10(np.maximum(1 - s, low)), lambda height: 1 - 10.0**-height)
        getattr(axes, f"set_{side}scale")("function", functions=functions)
    else:
        getattr(axes, f"set_{side}scale")("log")
    getattr(axes, f"set_{side}lim")(*((1 - high, 1 - low) if share else (low, high)))
    unit = "\N{NO-BREAK SPACE}%" if share else ""
    axis.set_ticks(ticks, [_short(about.factor * tick, language) + unit for tick in ticks])
    axis.set_minor_locator(NullLocator())


def linear(axis: Axis, factor: float, language: str) -> None:
    """Set few ticks, of values times a factor, as the language writes numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(factor * value, language)))


def _short(value: float, language: str) -> str:
    """Write a tick's number with as many decimals as it needs."""
    decimals = np.format_float_positional(value, precision=8, trim="-").partition(".")[2]
    return number(value, len(decimals), language)


def _round_ticks(low: float, high: float) -> np.ndarray:
    """Return up to seven round numbers between two positive ones, for a logarithmic axis."""
    powers = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = powers[:0]
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        every = np.outer(powers, mantissas).ravel()
        ticks = every[(low <= every) & (every <= high)]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 7)]
