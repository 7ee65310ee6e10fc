"""The plot of the fronts as a page: what a trial was, where the pointer is, and its command at a click.

One file with the plot and a script of its own: no library, no network.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.files import write_safely
from toolkit.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_suffix(".html")
SHOWN = (
    "macro_precision",
    "macro_recall",
    "accuracy",
    "loss",
    "drawn_accuracy",
    "latency",
    "size",
    "parameters",
)


def write(
    path: str | os.PathLike[str],
    figure: Figure,
    panels: Mapping[tuple[str, str], Sequence[Any]],
    commands: Mapping[str, str],
) -> None:
    """Write the page.

    Parameters
    ----------
    figure : as `figures.front_panels` draws it.
    panels : what it was drawn from.
    commands : study -> the command that trains its trial 0.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = picture.getvalue().decode()
    points = places(figure, panels)
    for point in points:
        for trial in point["trials"]:
            number = f"--from-trial {trial['number']} "
            trial["command"] = commands[trial["study"]].replace("--from-trial 0 ", number)
    page = TEMPLATE.read_text(encoding="utf-8")
    # A script must not end inside a text.
    page = page.replace("POINTS", json.dumps(points).replace("<", "\\u003c"))
    page = page.replace("PICTURE", svg[svg.index("<svg") :])
    write_safely(path, page.encode())


def places(figure: Figure, panels: Mapping[tuple[str, str], Sequence[Any]]) -> list[dict[str, Any]]:
    """Return where finished trials are on a figure, and what they are; those at the same place together.

    x and y are shares of the figure's width and height, from the upper left corner.
    """
    found: dict[tuple[int, float, float], dict[str, Any]] = {}
    for index, (axes, fronts) in enumerate(zip(figure.axes, panels.values(), strict=True)):
        to_share = axes.transData + figure.transFigure.inverted()
        for front in fronts:
            for trial, values, best in zip(front.finished, front.values, front.optimal, strict=True):
                if not all(
                    low <= value <= high
                    for value, (low, high) in zip(values, (axes.get_xlim(), axes.get_ylim()), strict=True)
                ):
                    continue
                x, y = to_share.transform(values)
                place = index, round(float(x), 4), round(1 - float(y), 4)
                point = found.setdefault(place, {"x": place[1], "y": place[2], "trials": []})
                point["trials"].append(_described(trial, front.name, bool(best)))
    for point in found.values():
        point["trials"].sort(key=lambda trial: not trial["front"])
    return sorted(found.values(), key=lambda point: point["trials"][0]["front"])  # these lie on top


def _described(trial: Mapping[str, Any], study: str, best: bool) -> dict[str, Any]:
    metrics = {METRICS[n].label: METRICS[n].text(trial[n]) for n in SHOWN if trial.get(n) is not None}
    drawn = {
        name: f"{value:.3g}" if isinstance(value, float) else str(value)
        for name, value in trial["trial_parameters"].items()
    }
    return {
        "study": study,
        "number": trial["number"],
        "front": best,
        "metrics": metrics,
        "configuration": drawn,
    }
