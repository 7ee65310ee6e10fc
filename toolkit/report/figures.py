"""The figures of the report, drawn with matplotlib at the size that they are printed in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import pareto
from toolkit.report.gather import Assessment, Importance, Sweep, TrainingRun, finite, number_of
from toolkit.report.texts import SHARES, UNITS, Language

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 17.0  # of the text, cm
STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # comes with matplotlib: the same letters everywhere
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.hashsalt": "report",  # the same figure, the same file
}
FIT, CHOOSE, CHOSEN, BAD = "#8a94a3", "#1f6feb", "#d1242f", "#c8501e"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 2.54, height / 2.54), layout="constrained")


def _linear(axis: Axis, say: Language) -> None:
    """Few ticks, written as the language does."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: say.tick(value)))


def _scale(axes: Axes, side: str, name: str, values: Sequence[float], say: Language) -> None:
    """The scale, ticks and label of an axis: shares by the logarithm of what lacks to 100 %, so that 99.5
    and 99.6 % stand apart; others logarithmic where they span much."""
    from matplotlib.ticker import NullLocator

    axis, unit = getattr(axes, f"{side}axis"), UNITS.get(name, (1, ""))[1]
    set_scale, set_limits = getattr(axes, f"set_{side}scale"), getattr(axes, f"set_{side}lim")
    axis.set_label_text(say.called(name) + (f" ({unit})" if unit else ""))
    share = name in SHARES
    heights = [1 - value if share else value for value in values if math.isfinite(value)]
    positive = [height for height in heights if height > 0] or [0.01]
    if not share and (min(heights, default=0) <= 0 or max(positive) < 3 * min(positive)):
        _linear(axis, say)
        return
    # A share of 100 % has no logarithm of what it lacks: it stands at the edge.
    whole = share and len(positive) < len(heights)
    low, high = min(positive) / (2 if whole else 1), max(positive)
    margin = max(1.15, (3 * low / high) ** 0.5)  # at least a factor of 3 from edge to edge
    low, high = low / margin, min(high * margin, 1) if share else high * margin
    ticks = [tick for tick in _round_ticks(low, high) if not whole or tick > 2 * low]
    if share:
        functions = (lambda s: -np.log10(np.maximum(1 - s, low)), lambda height: 1 - 10.0**-height)
        set_scale("function", functions=functions)
        set_limits(1 - high, 1 - low)
        ticks = [1 - tick for tick in [*ticks, *([0.0] if whole else [])]]
        axis.set_ticks(ticks, [f"{say.tick(100 * tick)} %" for tick in ticks])
    else:
        set_scale("log")
        set_limits(low, high)
        axis.set_ticks(ticks, [say.number(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _round_ticks(low: float, high: float) -> list[float]:
    """From three to seven round numbers between two positive ones, even on a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in ("1", "1 3", "1 2 5", "1 1.5 2 3 5 7", "1 1.2 1.5 2 2.5 3 3.5 4 5 6 7 8 9"):
        every = [float(f"{mantissa}e{power}") for power in powers for mantissa in mantissas.split()]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 7)] if len(ticks) > 7 else ticks


def _legend(figure: Figure) -> None:
    """One above all panels, each entry once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=4)


def curves_figure(run: TrainingRun, say: Language) -> Figure:
    """Loss and accuracy of both splits over the epochs, and the loss of the training steps where known."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(WIDTH, 4.9)
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        shown: list[float] = []
        for split, colour, line in (("running", FIT, ":"), ("train", FIT, "o-"), ("val", CHOOSE, "o-")):
            known = [epoch for epoch in run.epochs if finite([epoch], f"{split}_{what}")]
            values = finite(known, f"{split}_{what}")
            if known:
                numbers, label = finite(known, "epoch"), say.plain(f"{split}_split")
                axes.plot(numbers, values, line, color=colour, markersize=2.5, label=label)
            shown += values
        _scale(axes, "y", what, shown, say)
        axes.set_xlabel(say.plain("epoch"))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    _legend(figure)
    return figure


def history_figure(sweeps: Sequence[Sweep], say: Language) -> Figure:
    """The loss of every trial in the order of the search, and the best so far; a panel a study."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(WIDTH, 6.2)
    for axes, sweep in zip(figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps, strict=True):
        losses: list[float] = []
        for state, mark, colour in (("finished", "o", CHOOSE), ("pruned", "x", FIT)):
            known = [trial for trial in sweep.ended(state) if 0 < number_of(trial.get("loss")) < math.inf]
            numbers, values = [trial["number"] for trial in known], [trial["loss"] for trial in known]
            if known:
                label = say.plain(f"state_{state}")
                axes.plot(numbers, values, mark, color=colour, markersize=3.5, label=label)
            if known and state == "finished":
                best, label = np.minimum.accumulate(values), say.plain("best_so_far")
                axes.step(numbers, best, where="post", color=BAD, label=label)
            losses += values
        _scale(axes, "y", "loss", losses or [1.0], say)
        if failed := [trial["number"] for trial in sweep.ended("failed")]:
            at_the_top = {"transform": axes.get_xaxis_transform(), "label": say.plain("state_failed")}
            axes.plot(failed, [0.98] * len(failed), "v", color=CHOSEN, markersize=4, **at_the_top)
        axes.set_xlabel(say.plain("trial_number", study=sweep.name))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(figure)
    return figure


def importance_figure(found: Mapping[str, Importance], say: Language) -> Figure:
    """A bar for each hyperparameter, with the standard deviation over the repeats; a panel a kind."""
    tallest = max(len(entry.names) for entry in found.values())
    figure = _figure(WIDTH, 1.6 + 0.36 * tallest)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (kind, entry) in zip(panels, found.items(), strict=True):
        places, errors = range(len(entry.names)), {"lw": 0.8, "ecolor": "0.3"}
        colours = [FIT if name[0] == "(" else CHOOSE for name in entry.names]
        axes.barh(places, entry.means, 0.65, xerr=entry.deviations, color=colours, error_kw=errors)
        names = [f"({say.plain(name[1:-1])})" if name[0] == "(" else name for name in entry.names]
        axes.set_yticks(places, names)
        axes.set_ylim(tallest - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_title(say.called(kind), loc="left", fontsize=9)
        axes.set_xlabel(say.plain("importance"))
        _linear(axes.xaxis, say)
    return figure


def fronts_figure(
    fronts: Mapping[tuple[str, str], list[pareto.Front]], chosen: Mapping[str, int], say: Language
) -> Figure:
    """All finished trials for each pair of objectives, the fronts as steps, the chosen trials ringed."""
    figure = _figure(WIDTH, 7.2 if len(fronts) < 3 else 6.2)
    names = list(dict.fromkeys(front.name for own in fronts.values() for front in own))
    panels = figure.subplots(1, len(fronts), squeeze=False)[0]
    for axes, (objectives, own) in zip(panels, fronts.items(), strict=True):
        factors = [UNITS.get(name, (1, ""))[0] for name in objectives]
        for front in own:
            colour = pareto.COLOURS[names.index(front.name) % len(pareto.COLOURS)]
            values = front.values * factors
            others = {"alpha": 0.35, "markersize": 3.5, "markeredgewidth": 0}
            axes.plot(*values[~front.optimal].T, "o", color=colour, **others)
            best = values[front.optimal]
            best = best[np.argsort(best[:, 0])]
            # More of the first objective costs what the next trial does: a step.
            style = {"linewidth": 1, "markersize": 4.5, "label": front.name}
            axes.step(*best.T, "-o", where="pre", color=colour, **style)
            numbers = [trial["number"] for trial in front.finished]
            if chosen.get(front.name) in numbers:
                ring = {"markersize": 10, "markerfacecolor": "none", "markeredgewidth": 1.4}
                place = values[numbers.index(chosen[front.name])]
                axes.plot(*place[:, None], "o", color=CHOSEN, label=say.plain("chosen_trial"), **ring)
        every = np.concatenate([front.values for front in own]) * factors
        for side, name, column in zip("xy", objectives, every.T, strict=True):
            _scale(axes, side, name, column.tolist(), say)
    _legend(figure)
    return figure


def confusion_figure(metrics: Mapping[str, Any], say: Language) -> Figure:
    """Counts of every true digit and answer; errors have a colour scaled to the errors alone."""
    from matplotlib import colormaps

    counts = np.array(metrics["confusion"])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = np.where(np.eye(10, dtype=bool), 0, share)
    colours = colormaps["Oranges"](0.65 * np.sqrt(errors / max(errors.max(), 0.02)))
    colours[counts == 0] = (1, 1, 1, 1)
    colours[range(10), range(10)] = colormaps["Blues"](0.25 + 0.6 * share.diagonal())
    figure = _figure(8.8, 8.4)
    axes = figure.add_subplot()
    # Rectangles, not a picture: sharp at any size.
    edges = np.arange(11) - 0.5
    axes.pcolormesh(edges, edges, colours, edgecolors="#e4e7eb", linewidth=0.5)
    for true, read in np.argwhere(counts):
        colour = "white" if true == read and share[true, read] > 0.4 else "black"
        text = say.number(counts[true, read], 0)
        axes.text(read, true, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set(xticks=range(10), yticks=range(10), xlabel=say.plain("read_as"), ylabel=say.plain("true_digit"))
    axes.set_aspect("equal")
    axes.set_ylim(9.5, -0.5)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def mistakes_figure(models: Sequence[Assessment], say: Language) -> Figure:
    """The worst mistakes, a row a model: true digit, answer, its probability."""
    figure = _figure(WIDTH, 2.45 * len(models))
    for row, model in zip(figure.subplots(len(models), 10, squeeze=False), models, strict=True):
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, (image, true, read, sure) in zip(row, model.mistakes, strict=False):
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, interpolation="none")
            axes.set_title(f"{true} → {read}\n{say.percent(sure, 0)}", fontsize=8, pad=2)
        row[0].set_ylabel(say.called(model.kind), fontsize=9)
    return figure


def augmentation_figure(means: Sequence[Any], say: Language) -> Figure:
    """Mean accuracy and its 95 % interval by setting; a panel a test set, a colour a model."""
    settings, tests, models = (
        list(dict.fromkeys(getattr(mean, name) for mean in means))
        for name in ("setting", "test_set", "model")
    )
    figure = _figure(WIDTH, 2.2 + 0.75 * len(settings))
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    for axes, test_set in zip(panels, tests, strict=True):
        for place, model in enumerate(models):
            own = [m for m in means if (m.model, m.test_set) == (model, test_set)]
            heights = [settings.index(m.setting) + 0.26 * (place - (len(models) - 1) / 2) for m in own]
            halves = [math.nan if m.high is None else 100 * (m.high - m.mean) for m in own]
            style = {"markersize": 4, "capsize": 2.5, "color": pareto.COLOURS[place]}
            values, label = [100 * m.mean for m in own], say.called(model)
            axes.errorbar(values, heights, xerr=halves, fmt="o", label=label, **style)
        axes.set_title(say.called(test_set), loc="left", fontsize=9)
        axes.set_yticks(range(len(settings)), [say.called(f"setting_{name}") for name in settings])
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlabel(say.plain("right_percent"))
        _linear(axes.xaxis, say)
    _legend(figure)
    return figure
