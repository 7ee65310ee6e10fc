"""The plots that the stages show, and the report with them; `report.plots` has those of the report alone.

    figures.save(figures.confusion(metrics, "SVM on mnist/test"), "confusion.png")

Each function takes data and returns a Matplotlib figure in its printed size. What stands on a figure is
English; `label` translates it, and `language` writes its numbers.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.files import write_safely
from toolkit.labels import place_labels
from toolkit.metrics import METRICS, headline, number
from toolkit.scales import linear, metric_scale

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 17.0  # cm, of the text on an A4 page
TRAIN_COLOUR, VALIDATION_COLOUR = "#8a94a3", "#1f5fa8"
COLOURS = ("#1f5fa8", "#c8501e", "#2b7d4f", "#7a4a9e", "#8a6d1a", "#4f6470")  # of studies and models
MARKS = ("o", "s", "^", "D", "v", "P")  # of studies
INK, GRID, FAILED = "#24292f", "#e4e7eb", "#d1242f"
STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # comes with Matplotlib, so figures look the same everywhere
    "font.size": 9,
    "text.parse_math": False,  # a $ in a study's name is just that
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.hashsalt": "report",  # the same figure gives the same file
}

Label = Callable[[str], str]


ENDINGS = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")  # of files that `save` writes


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all, in the format that the path's ending names, one of `ENDINGS`."""
    buffer, ending = io.BytesIO(), Path(path).suffix[1:]
    # Without a date, the same figure gives the same file.
    figure.savefig(buffer, format=ending, dpi=200, metadata={"Date": None} if ending == "svg" else None)
    write_safely(path, buffer.getvalue())


def confusion(
    metrics: Mapping[str, Any],
    title: str = "",
    *,
    width: float = 15.0,
    label: Label = str,
    language: str = "en",
) -> Figure:
    """Draw a confusion matrix.

    Errors have their own colour, scaled to the errors alone, so that they stand out among 99 % right answers.

    Parameters
    ----------
    metrics : as `evaluate` returns them.
    width : in cm. From 12 cm on, each cell also shows its share of the row.
    """
    figure = new_figure(width, width * (1.04 if title else 0.955))
    axes = figure.add_subplot()
    draw_confusion(axes, metrics, roomy=width >= 12, label=label, language=language)
    if title:
        axes.set_title(f"{title}\n{headline(metrics)}", fontsize=11, pad=8)
    return figure


def draw_confusion(
    axes: Axes, metrics: Mapping[str, Any], *, roomy: bool, label: Label, language: str, size: float = 6.5
) -> None:
    """Draw a confusion matrix as `confusion` does; a roomy one also shows shares."""
    from matplotlib import colormaps

    counts = np.array(metrics["confusion"])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = np.where(np.eye(10, dtype=bool), 0, share)
    # The square root keeps a single error visible. From 2 % on, the colour is relative to the worst cell.
    colours = colormaps["Oranges"](0.65 * np.sqrt(errors / max(errors.max(), 0.02)))
    colours[counts == 0] = (1, 1, 1, 1)
    colours[range(10), range(10)] = colormaps["Blues"](0.25 + 0.6 * share.diagonal())

    edges = np.arange(11) - 0.5
    axes.pcolormesh(edges, edges, colours, edgecolors=GRID, linewidth=0.5)
    for true, read in np.argwhere(counts):
        dark = true == read and share[true, read] > 0.4
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if dark else INK}
        count = number(counts[true, read], 0, language)
        axes.text(read, true - 0.12 * roomy, count, fontsize=11 if roomy else size, **style)
        if roomy:
            percent = METRICS["accuracy"].text(share[true, read], language)
            axes.text(read, true + 0.25, percent, fontsize=7, **style)
    axes.set(xticks=range(10), yticks=range(10), xlabel=label("read as"), ylabel=label("true digit"))
    axes.set(aspect="equal", ylim=(9.5, -0.5))
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def learning_curve(
    epochs: Sequence[Mapping[str, float]], title: str = "", *, label: Label = str, language: str = "en"
) -> Figure:
    """Draw loss and accuracy of both splits over the epochs.

    Parameters
    ----------
    epochs : as `tracking.Run.epochs` holds them. Curves without any finite value are left out.

    Raises
    ------
    ValueError : no epochs.
    """
    if not epochs:
        raise ValueError("wanted at least one epoch to plot.")
    figure = new_figure(WIDTH, 5.6 if title else 5.2, title)
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        draw_curves(axes, epochs, what, label=label, language=language)
    add_legend(figure)
    return figure


def draw_curves(
    axes: Axes, epochs: Sequence[Mapping[str, float]], what: str, *, label: Label, language: str
) -> None:
    """Draw the "loss" or the "accuracy" of both splits over the epochs."""
    from matplotlib.ticker import MaxNLocator

    splits = {
        "running": ("training steps", TRAIN_COLOUR, ":"),
        "train": ("train split", TRAIN_COLOUR, "o-"),
        "val": ("validation split", VALIDATION_COLOUR, "o-"),
    }
    shown: list[float] = []
    for split, (name, colour, line) in splits.items():
        known = [e for e in epochs if math.isfinite(e.get(f"{split}_{what}", math.nan))]
        values = [epoch[f"{split}_{what}"] for epoch in known]
        if known:
            numbers, size = [epoch["epoch"] for epoch in known], 5 if len(known) < 3 else 2.5
            axes.plot(numbers, values, line, color=colour, markersize=size, label=label(name))
        shown += values
    metric_scale(axes, "y", what, shown, label(what), language)
    axes.set_xlabel(label("epoch"))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    title: str = "",
    *,
    most: int = 40,
    columns: int = 8,
    language: str = "en",
) -> Figure:
    """Draw the worst mistakes: true digit, answer, and the probability of that answer.

    Parameters
    ----------
    images : uint8 (n, 28, 28).
    labels : int (n,).
    probabilities : float (n, 10).
    most : how many to draw. Those come first whose true digit got the least probability.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    read = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(read != labels)
    shown = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:most]
    rows = max(1, -(-len(shown) // columns))
    if title:
        worst = f", the worst {len(shown)} of them" if len(shown) < len(wrong) else ""
        title += f"\n{len(wrong):,} of {len(labels):,} read wrong{worst}"
        title += " (true digit → answer, and its probability)"
    figure = new_figure(WIDTH, (WIDTH / columns + 0.75) * rows + (1.3 if title else 0), title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, index in zip(grid.flat, shown, strict=False):
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255, interpolation="none")
        sure = number(100 * probabilities[index, read[index]], 0, language)
        axes.set_title(f"{labels[index]} → {read[index]}\n{sure}\N{NO-BREAK SPACE}%", loc="center", pad=3)
    return figure


def front_panels(
    panels: Mapping[tuple[str, str], Sequence[Any]],
    title: str = "",
    *,
    chosen: Mapping[str, int] | None = None,
    label: Label = str,
    language: str = "en",
) -> Figure:
    """Draw the trials of studies by pairs of metrics, and a stepped line along each pair's front.

    A trial on a front bears its number; those with the same values share a label. Each study has a colour and
    a mark. Where there is an odd number of panels, the first is as wide as the page.

    Parameters
    ----------
    panels : (x, y), names of metrics -> `pareto.Front`s of this pair.
    chosen : study -> the number of the trial to mark.
    """
    from matplotlib.ticker import MaxNLocator

    odd = len(panels) % 2
    rows = (len(panels) + odd) // 2
    figure = new_figure(WIDTH, 7.0 * rows + (3.0 if odd else 0) + 2.0, title)
    grid = figure.add_gridspec(rows, 2, height_ratios=[1.4 if odd and row == 0 else 1 for row in range(rows)])
    names = sorted({front.name for own in panels.values() for front in own})
    for index, (pair, own) in enumerate(panels.items()):
        place = index + odd
        axes = figure.add_subplot(grid[0, :] if odd and index == 0 else grid[place // 2, place % 2])
        values = np.concatenate([front.values for front in own])
        is_chosen = [t["number"] == (chosen or {}).get(front.name) for front in own for t in front.finished]
        near = _near_fronts(own, pair) | np.array(is_chosen)
        for side, name, column in zip("xy", pair, values[near].T, strict=True):
            if METRICS[name].unit == "%":
                room = 0.06 * (1 - column.min()) or 0.01
                getattr(axes, f"set_{side}lim")(column.min() - room, 1)
                getattr(axes, f"set_{side}label")(f"{label(METRICS[name].label)} (%)")
                linear(getattr(axes, f"{side}axis"), 100, language)
                getattr(axes, f"{side}axis").set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            else:
                metric_scale(axes, side, name, column, label(METRICS[name].label), language)
        outside = f"{label('trials outside')}: {(~near).sum()}" if not near.all() else ""
        axes.set_title(f"{chr(ord('a') + index)}   {outside}" if len(panels) > 1 else outside)
        for front in sorted(own, key=lambda front: front.name):
            _draw_front(axes, front, pair, names.index(front.name), (chosen or {}).get(front.name), label)
    # What the marks mean, once for all studies.
    key: dict[str, Any] = {"color": TRAIN_COLOUR}
    everyone = [trial for own in panels.values() for front in own for trial in front.trials]
    on_front = label("on the front: no trial of its colour is better in both")
    axes.plot([], [], "-o", markersize=6.5, label=on_front, **key)
    axes.plot([], [], "o", markersize=3.5, label=label("another finished trial"), **key)
    if any(trial["state"] == "pruned" and "macro_recall" in trial for trial in everyone):
        axes.plot([], [], "x", markersize=3.5, label=label("stopped early, at its last epoch"), **key)
    add_legend(figure, columns=2, place="outside lower center")
    figure.draw_without_rendering()  # now the layout is known
    figure.set_layout_engine("none")
    for axes, (pair, own) in zip(figure.axes, panels.items(), strict=True):
        _number_fronts(axes, sorted(own, key=lambda front: front.name), pair, names)
    return figure


def _near_fronts(fronts: Sequence[Any], pair: tuple[str, str]) -> np.ndarray:
    """Return which trials, bool (n,), are worth a look.

    They cost at most twice as much as the worst on a front, or make three times as many errors where both
    metrics are shares. Nothing counts that makes more than eight times the errors of the best.
    """
    shares = [METRICS[name].unit == "%" for name in pair]
    costs = [np.where(shares, 1 - front.values, front.values) for front in fronts]
    optimal = np.concatenate([cost[front.optimal] for cost, front in zip(costs, fronts, strict=True)])
    most = optimal.max(axis=0) * (3 if all(shares) else 2)
    most = np.where(shares, np.minimum(most, 8 * np.maximum(optimal.min(axis=0), 0.001)), most)
    return np.asarray((np.concatenate(costs) <= most).all(axis=1))


def _draw_front(
    axes: Axes, front: Any, pair: tuple[str, str], index: int, chosen: int | None, label: Label
) -> None:
    colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
    faint: dict[str, Any] = {"color": colour, "alpha": 0.35, "markersize": 3.5}
    stopped = [t for t in front.trials if t["state"] == "pruned" and all(t.get(name) for name in pair)]
    if stopped:
        axes.plot(*np.array([[t[name] for name in pair] for t in stopped]).T, "x", **faint)
    axes.plot(*front.values[~front.optimal].T, mark, markeredgewidth=0, **faint)
    order = sorted(np.flatnonzero(front.optimal), key=lambda index: front.values[index, 0])
    states = ("finished", "pruned", "failed", "interrupted", "running", "waiting")
    counts = ", ".join(f"{front.count(state)} {label(state)}" for state in states if front.count(state))
    # To have more of the first metric, one takes what the next trial has of the second.
    where: Any = "pre" if METRICS[pair[0]].maximize else "post"
    style: dict[str, Any] = {"color": colour, "markeredgecolor": "white", "markeredgewidth": 0.6}
    style |= {"markersize": 6.5, "lw": 1}
    axes.step(*front.values[order].T, where=where, **style)
    # The edge of the panel cuts no mark in two.
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    inside = [i for i in order if left <= front.values[i, 0] <= right and bottom <= front.values[i, 1] <= top]
    axes.plot(*front.values[inside].T, mark, clip_on=False, **style)
    axes.plot([], [], f"-{mark}", label=f"{front.name}: {counts}", **style)
    numbers = [trial["number"] for trial in front.finished]
    if chosen in numbers:
        place = front.values[[numbers.index(chosen)]].T
        ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.3}
        axes.plot(*place, "o", color=INK, label=label("chosen trial"), zorder=5, clip_on=False, **ring)


def _number_fronts(axes: Axes, fronts: Sequence[Any], pair: tuple[str, str], names: Sequence[str]) -> None:
    """Write the numbers of the trials on the fronts beside them."""
    labels, lines = [], []
    for front in fronts:
        same: dict[tuple[float, ...], list[str]] = {}
        for index in np.flatnonzero(front.optimal):
            same.setdefault(tuple(front.values[index]), []).append(str(front.finished[index]["number"]))
        for place, numbers in sorted(same.items()):
            more = f" + {len(numbers) - 4}" if len(numbers) > 4 else ""
            colour = COLOURS[names.index(front.name) % len(COLOURS)]
            labels.append((", ".join(numbers[:4]) + more, np.array(place), colour))
        places = np.array(sorted(same))
        corners = np.repeat(places, 2, axis=0)  # of the stepped line
        down = METRICS[pair[0]].maximize
        corners = np.stack(
            [corners[:-1, 0], corners[1:, 1]] if down else [corners[1:, 0], corners[:-1, 1]], axis=1
        )
        lines.append(corners)
    place_labels(axes, labels, np.concatenate([front.values for front in fronts]), lines)


def augmentation(means: Sequence[Any], *, label: Label = str, language: str = "en") -> Figure:
    """Draw accuracies by setting: means with 95 % intervals, and single seeds as faint dots.

    Each test set has a panel, each model a colour.

    Parameters
    ----------
    means : `experiments.augmentation.Mean`s; `label` gets their models, settings and test sets.
    """
    settings, tests, models = (
        list(dict.fromkeys(getattr(mean, name) for mean in means))
        for name in ("setting", "test_set", "model")
    )
    figure = new_figure(WIDTH, 2.2 + 0.75 * len(settings))
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    for axes, test_set in zip(panels, tests, strict=True):
        for place, model in enumerate(models):
            own = [m for m in means if (m.model, m.test_set) == (model, test_set)]
            heights = [settings.index(m.setting) + 0.26 * (place - (len(models) - 1) / 2) for m in own]
            halves = [math.nan if m.high is None else m.high - m.mean for m in own]
            style = {"markersize": 4, "capsize": 2.5, "color": COLOURS[place % len(COLOURS)]}
            for mean, height in zip(own, heights, strict=True):  # single seeds, faint
                faint = {"color": style["color"], "alpha": 0.3, "markersize": 2.5, "markeredgewidth": 0}
                axes.plot(mean.values, [height] * mean.n, "o", **faint)
            axes.errorbar([m.mean for m in own], heights, xerr=halves, fmt="D", label=label(model), **style)
        axes.set_title(label(test_set))
        axes.set_yticks(range(len(settings)), [label(name) for name in settings])
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlabel(f"{label(METRICS['accuracy'].label)} (%)")
        linear(axes.xaxis, 100, language)
    add_legend(figure)
    return figure


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Make an empty figure in the common style; its size is in cm."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    matplotlib.rcParams.update(STYLE)
    layout = ConstrainedLayoutEngine(w_pad=0.08)
    figure = Figure(figsize=(width / 2.54, height / 2.54), layout=layout)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def add_legend(figure: Figure, columns: int = 4, place: Any = "outside upper center") -> None:
    """Put one legend above or below all panels, with each entry once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    figure.legend(list(entries.values()), list(entries), loc=place, ncols=columns)
