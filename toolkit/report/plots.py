"""The plots of the report alone: sweeps, and single trials of them. As in `figures`, `label` translates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.figures import (
    COLOURS,
    FAILED,
    INK,
    TRAIN_COLOUR,
    VALIDATION_COLOUR,
    WIDTH,
    Label,
    add_legend,
    draw_confusion,
    draw_curves,
    new_figure,
)
from toolkit.metrics import METRICS, number
from toolkit.report.importance import are_numbers, finite
from toolkit.scales import linear, metric_scale

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 10
STATES = (("finished", "o", VALIDATION_COLOUR), ("pruned", "x", TRAIN_COLOUR))
Trials = Sequence[Mapping[str, Any]]


def history(studies: Mapping[str, Trials], *, label: Label = str, language: str = "en") -> Figure:
    """Draw the loss of each trial in the order of the search, and the best so far; a panel for each study.

    Parameters
    ----------
    studies : name -> trials, with number, state and loss.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(WIDTH, 5.2)
    panels = figure.subplots(1, len(studies), squeeze=False)[0]
    for axes, (study, trials) in zip(panels, studies.items(), strict=True):
        losses: list[float] = []
        for state, mark, colour in STATES:
            known = [t for t in trials if t["state"] == state and 0 < (t.get("loss") or math.nan) < math.inf]
            numbers, values = [trial["number"] for trial in known], [trial["loss"] for trial in known]
            if known:
                axes.plot(numbers, values, mark, color=colour, markersize=3.5, label=label(state))
            if known and state == "finished":
                best = np.minimum.accumulate(values)
                axes.step(numbers, best, where="post", color=INK, lw=1, label=label("best so far"))
            losses += values
        metric_scale(axes, "y", "loss", losses or [1.0], label(METRICS["loss"].label), language)
        if failed := [trial["number"] for trial in trials if trial["state"] == "failed"]:
            at_the_top = {"transform": axes.get_xaxis_transform(), "label": label("failed")}
            axes.plot(failed, [0.98] * len(failed), "v", color=FAILED, markersize=4, **at_the_top)
        axes.set_title(study)
        axes.set_xlabel(label("trial"))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    add_legend(figure)
    return figure


def importance(found: Mapping[str, Any], *, label: Label = str, language: str = "en") -> Figure:
    """Draw a bar for each of the ten most important hyperparameters; a panel for each model.

    Lines on the bars show the standard deviation over the repeats.

    Parameters
    ----------
    found : name of the model -> `importance.Importance`. Names in parentheses are grey: they are inputs
        beside the hyperparameters.
    """
    tallest = min(max(len(entry.names) for entry in found.values()), MOST_BARS)
    figure = new_figure(WIDTH, 1.6 + 0.4 * tallest)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (model, entry) in zip(panels, found.items(), strict=True):
        names, means, deviations = (
            getattr(entry, part)[:MOST_BARS] for part in ("names", "means", "deviations")
        )
        colours = [TRAIN_COLOUR if name[0] == "(" else VALIDATION_COLOUR for name in names]
        errors = {"lw": 0.8, "ecolor": INK}
        axes.barh(range(len(names)), means, 0.65, xerr=deviations, color=colours, error_kw=errors)
        axes.set_yticks(range(len(names)), [label(name) if name[0] == "(" else name for name in names])
        axes.set_ylim(tallest - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_title(model)
        axes.set_xlabel(label("loss of explained variance"))
        linear(axes.xaxis, 1, language)
    return figure


def slices(
    names: Sequence[str], trials: Trials, title: str, *, label: Label = str, language: str = "en"
) -> Figure:
    """Draw the loss of each trial against single hyperparameters, up to four, a panel for each."""
    figure = new_figure(WIDTH, 5.4)
    losses = [loss for trial in trials if (loss := finite(trial.get("loss"))) > 0]
    panels = figure.subplots(1, 4)
    for place, (axes, name) in enumerate(zip(panels, names, strict=False)):
        _draw_slice(axes, name, trials, label, language)
        what = "" if place else label(METRICS["loss"].label)
        metric_scale(axes, "y", "loss", losses, what, language)
        axes.set_title("" if place else title)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    add_legend(figure)
    return figure


def _draw_slice(axes: Axes, name: str, trials: Trials, label: Label, language: str) -> None:
    """Draw the losses against one hyperparameter: a number, or a word with some jitter."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    own = [trial for trial in trials if name in trial["trial_parameters"]]
    values = [trial["trial_parameters"][name] for trial in own]
    numbers = are_numbers(values)
    few = not numbers or len(set(values)) <= 4
    words = sorted(set(values), key=lambda value: value if numbers else str(value))
    generator = np.random.default_rng(0)
    for state, mark, colour in STATES:
        known = [trial for trial in own if trial["state"] == state and finite(trial.get("loss")) > 0]
        places = [trial["trial_parameters"][name] for trial in known]
        if few:
            places = [words.index(value) + generator.uniform(-0.15, 0.15) for value in places]
        if known:
            style: dict[str, Any] = {"color": colour, "markersize": 3.5, "alpha": 0.8, "label": label(state)}
            axes.plot(places, [trial["loss"] for trial in known], mark, **style)
    axes.set_xlabel(name)
    if few:
        names = [("yes" if word else "no") if isinstance(word, bool) else str(word) for word in words]
        tilted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        tilted = tilted if sum(map(len, names)) > 14 else {}
        axes.set_xticks(range(len(words)), [label(word) for word in names], fontsize=7.5, **tilted)
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, None, language)))
    else:
        linear(axes.xaxis, 1, language)


def by_digit(trials: Mapping[str, Mapping[str, Any]], *, label: Label = str, language: str = "en") -> Figure:
    """Draw precision and recall of each digit for a few trials; the digits that are read worst come first.

    Parameters
    ----------
    trials : name -> trial, with precision_0 to recall_9.
    """
    scores = ("precision", "recall")
    values = {
        (name, score): np.array([trial[f"{score}_{digit}"] for digit in range(10)])
        for name, trial in trials.items()
        for score in scores
    }
    names = sorted(trials)  # as in the fronts, so that a model has the same colour there
    figure = new_figure(WIDTH, 5.6)
    for axes, score in zip(figure.subplots(1, 2), scores, strict=True):
        own = np.array([values[name, score] for name in names])
        order = np.argsort(own.min(axis=0), kind="stable")
        for place, (name, line) in enumerate(zip(names, own, strict=True)):
            shift = 0.16 * (place - (len(names) - 1) / 2)
            style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "clip_on": False, "label": name}
            axes.plot(np.arange(10) + shift, line[order], "o", **style)
        metric_scale(axes, "y", "accuracy", own.ravel(), label(f"{score} of each digit"), language)
        axes.set_xticks(range(10), [str(digit) for digit in order])
        axes.set_xlabel(label("digit"))
    add_legend(figure)
    return figure


def training_and_confusion(
    epochs: Sequence[Mapping[str, float]],
    metrics: Mapping[str, Any],
    *,
    label: Label = str,
    language: str = "en",
) -> Figure:
    """Draw the learning curves of a trial beside its confusion matrix."""
    figure = new_figure(WIDTH, 5.2)
    loss, accuracy, matrix = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    for axes, what in ((loss, "loss"), (accuracy, "accuracy")):
        draw_curves(axes, epochs, what, label=label, language=language)
    draw_confusion(matrix, metrics, roomy=False, label=label, language=language, size=4.8)
    matrix.tick_params(labelsize=7)
    add_legend(figure)
    return figure


def confusions(
    trials: Sequence[tuple[str, Mapping[str, Any]]], *, label: Label = str, language: str = "en"
) -> Figure:
    """Draw up to three small confusion matrices in a row, each below a title."""
    figure = new_figure(WIDTH, 6.2)
    panels = figure.subplots(1, 3)
    for axes, (title, metrics) in zip(panels, trials, strict=False):
        draw_confusion(axes, metrics, roomy=False, label=label, language=language, size=5)
        axes.tick_params(labelsize=7)
        axes.set_title(title, fontsize=8)
    for axes in panels[len(trials) :]:
        axes.set_visible(False)
    return figure
