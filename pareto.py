"""The best trials of sweeps: those that no other trial beats in every objective (the Pareto front).

    python pareto.py                             # precision against recall first, all studies in studies.db
    python pareto.py --study ann --objectives accuracy latency
    python pareto.py --html front.html           # a page: point at a trial, click it to copy its command
    python pareto.py --csv trials.csv            # every trial with all that was recorded, for a spreadsheet
    python pareto.py --json trials.jsonl         # the same for programs: report.py reads it

Prints the configurations on each study's front. The plot shows the region of the fronts;
without --objectives it also shows accuracy against time, size and accuracy on drawings. Where there is no
studies.db, the trials are those that come with the toolkit (results/).
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import math
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from classifier import InputError, write_safely
from toolkit import commandline, figures, files, trials
from toolkit.metrics import METRICS, check_names

import numpy as np


def is_pareto_optimal(fitness: Any, maximize: bool | Sequence[bool] = True) -> np.ndarray:
    """Return which points no other point dominates.

    A point dominates another when it is at least as good in every objective and better in one. Equal points
    do not dominate each other. The answer is exact: values are compared, never rounded.

    Parameters
    ----------
    fitness : numbers (n, k), one point a row; infinities are numbers. Rows with NaN are left out: they are
        not optimal and dominate nothing, and a warning says how many there are.
    maximize : whether more is better, for all objectives or for each of the k.

    Returns
    -------
    bool (n,)

    Raises
    ------
    ValueError : another shape, or another number of directions than of objectives.
    """
    points = np.array(fitness, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] < 1:
        raise ValueError(f"wanted fitness of shape (n, k) with k at least 1; got {points.shape}.")
    directions = np.array(maximize, dtype=bool)
    if directions.ndim and directions.shape != points.shape[1:]:
        raise ValueError(f"wanted {points.shape[1]} directions; got {len(directions)}.")
    points = np.where(directions, -points, points) + 0.0  # less is better; the sum turns -0 into 0
    known = ~np.isnan(points).any(axis=1)
    if not known.all():
        warnings.warn(f"{(~known).sum()} of {len(points)} points have NaN and are left out.", stacklevel=2)
    # Sorted: whatever dominates a point comes before it.
    distinct, place = np.unique(points[known], axis=0, return_inverse=True)
    columns = np.ascontiguousarray(distinct.T)
    best = np.zeros(len(distinct), dtype=bool)
    for index, point in enumerate(distinct):
        no_worse = (columns[:, : index + 1] <= point[:, None]).all(axis=0)
        best[index] = no_worse.sum() == 1  # the point itself
    optimal = np.zeros(len(points), dtype=bool)
    optimal[known] = best[place.ravel()]
    return optimal


def hypervolume(fitness: Any, reference: Sequence[float], maximize: bool | Sequence[bool] = True) -> float:
    """Return the volume that points dominate, up to a reference point: the more, the better the front.

    Points that are not better than the reference in every objective add nothing. The result is exact: it
    slices along one objective after the other, for fronts of hundreds of points in up to four objectives.

    Parameters
    ----------
    fitness : numbers (n, k) without NaN.
    reference : (k,), a point no better than those that count.
    maximize : as in `is_pareto_optimal`.
    """
    signs = np.where(maximize, -1.0, 1.0)
    corner = signs * np.array(reference, dtype=np.float64)
    points = signs * np.array(fitness, dtype=np.float64).reshape(-1, len(corner))
    return _volume(points[(points < corner).all(axis=1)], corner)


def _volume(points: np.ndarray, corner: np.ndarray) -> float:
    """Return the volume between points (n, k) and the corner, which is above all of them."""
    if not len(points):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points.min())
    points = points[is_pareto_optimal(points, maximize=False)]
    points = points[np.argsort(points[:, 0])]
    widths = np.diff(points[:, 0], append=corner[0])
    slices = [(width, points[: index + 1, 1:]) for index, width in enumerate(widths) if width]
    return float(sum(width * _volume(others, corner[1:]) for width, others in slices))


# What the plot shows unless --objectives names something else; the first pair is that of the table.
PAIRS = (
    ("macro_precision", "macro_recall"),
    ("accuracy", "latency"),
    ("accuracy", "size"),
    ("accuracy", "drawn_accuracy"),
)


class Front:
    """The trials of one study, and which of them are on its front.

    Attributes
    ----------
    name : of the study.
    trials : all of them, as `trials.read_trials` returns them.
    finished : the finished ones that have all objectives.
    values : their objectives, float64 (n, k).
    optimal : bool (n,), which of these are on the front.
    """

    def __init__(self, name: str, trials: list[dict[str, Any]], objectives: Sequence[str]) -> None:
        self.name, self.trials = name, trials
        done = [trial for trial in trials if trial["state"] == "finished"]
        self.finished = [trial for trial in done if all(_is_number(trial.get(name)) for name in objectives)]
        rows = [[trial[name] for name in objectives] for trial in self.finished]
        self.values = np.array(rows, dtype=np.float64).reshape(-1, len(objectives))
        self.optimal = is_pareto_optimal(self.values, [METRICS[name].maximize for name in objectives])

    def count(self, state: str) -> int:
        """Return how many trials ended in a state."""
        return sum(trial["state"] == state for trial in self.trials)

    def best_first(self, objective: str) -> list[dict[str, Any]]:
        """Return the trials on the front, the best in one objective first."""
        chosen = [self.finished[index] for index in np.flatnonzero(self.optimal)]
        return sorted(chosen, key=lambda trial: trial[objective] * (-1 if METRICS[objective].maximize else 1))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)


def table(fronts: Sequence[Front], objectives: Sequence[str]) -> str:
    """Return the configurations on the fronts as text.

    What all trials on a front have in common stands above them, once.
    """
    blocks = []
    for front in fronts:
        best = front.best_first(objectives[0])
        lines = [f"{front.name}: {len(best)} of {len(front.trials)} trials on the front"]
        drawn = [trial["trial_parameters"].items() for trial in best]
        shared = [pair for pair in drawn[0] if all(pair in own for own in drawn)] if len(best) > 1 else []
        if shared:
            lines.append("  all: " + _listed(shared))
        rows = [["trial", *objectives, "configuration"]]
        for trial, own in zip(best, drawn, strict=True):
            values = [METRICS[name].text(trial[name]) for name in objectives]
            rows.append([str(trial["number"]), *values, _listed(pair for pair in own if pair not in shared)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
        for *cells, configuration in rows:
            aligned = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            lines.append("  ".join(["", *aligned, configuration]).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _listed(pairs: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in pairs)


def write_csv(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write trials for a spreadsheet; what is nested has columns of its own, such as config.epochs."""
    flat_rows = []
    for row in rows:
        flat: dict[str, Any] = {}
        for key, value in row.items():
            prefix = {"trial_parameters": "parameter", "versions": "version"}.get(key, key)
            if isinstance(value, dict):
                flat |= {f"{prefix}.{name}": entry for name, entry in value.items()}
            elif key not in ("confusion", "history"):  # tables of their own; --json writes them
                flat[key] = value
        flat_rows.append({_cell(name): _cell(value) for name, value in flat.items()})
    first = ["study", "number", "state", "reason", "started", "ended", *METRICS]
    columns = [name for name in first if any(name in row for row in flat_rows)]
    columns += sorted({name for row in flat_rows for name in row} - set(columns))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat_rows)
    write_safely(path, buffer.getvalue().encode())


def _cell(value: Any) -> Any:
    """Return a value as a spreadsheet takes it; text that it would take for a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def read_fronts(db: str | None, names: Sequence[str], objectives: Sequence[str]) -> list[Front]:
    """Return the front of each study (all of them when none is named), and print what it leaves out."""
    fronts = []
    for name in dict.fromkeys(names or trials.study_names(db)):
        if path := trials.shipped(db, name):
            print(f"{name}: the trials that come with the toolkit, {commandline.shown(path)}")
        front = Front(name, trials.read_trials(db, name), objectives)
        fronts.append(front)
        if left_out := front.count("finished") - len(front.finished):
            print(f"{name}: {left_out} finished trials lack a value of an objective: left out.")
    if not fronts:
        raise InputError(
            f"there is no study in {trials.shown_url(db)}; sweep_ann.py and sweep_svm.py make them."
        )
    return fronts


def print_hypervolumes(fronts: Sequence[Front], objectives: Sequence[str]) -> None:
    """Print the hypervolume of each front, and its share of the box between the worst and the best values."""
    print(
        "\nThe hypervolume is the area or volume between a front and the reference point: the worst value of "
        "each objective among all finished trials. The larger, the better the front."
    )
    everything = np.concatenate([front.values for front in fronts])
    maximize = [METRICS[name].maximize for name in objectives]
    lowest, highest = everything.min(axis=0), everything.max(axis=0)
    # The worst of all finished trials: what is on a front is at least as good.
    reference = np.where(maximize, lowest, highest).tolist()
    box = (highest - lowest).prod()
    worst = zip(objectives, reference, strict=True)
    shown = ", ".join(f"{name} {METRICS[name].text(value)}" for name, value in worst)
    for front in fronts:
        volume = hypervolume(front.values[front.optimal], reference, maximize)
        share = f", {volume / box:.1%} of the box from there to the best of each" if box else ""
        print(f"Hypervolume of {front.name}: {volume:.4g}{share} (reference point: {shown})")


def next_command(fronts: Sequence[Front], objective: str, db: str | None) -> str:
    """Return the command that trains the trial that is the best in one objective."""
    firsts = [(front.name, front.best_first(objective)[0]) for front in fronts if front.finished]
    choose = max if METRICS[objective].maximize else min
    name, trial = choose(firsts, key=lambda first: first[1][objective])
    return train_command(name, trial["number"], db)


def train_command(study: str, number: int, db: str | None) -> str:
    """Return the command that trains a trial's configuration on all images."""
    kind = trials.kind_of(db, study)
    flags = ("" if study == kind else f" --study {shlex.quote(study)}") + trials.database_flag(db)
    return f"python train_{kind}.py --from-trial {number} --final{flags}"


Panels = dict[tuple[str, str], list[Front]]


def panels_of(fronts: Sequence[Front], pairs: Iterable[tuple[str, str]]) -> Panels:
    """Return the fronts of each pair of metrics, of studies where a finished trial has both."""
    panels: Panels = {}
    for pair in pairs:
        own = [Front(front.name, front.trials, pair) for front in fronts]
        if own := [front for front in own if front.finished]:
            panels[pair] = own
    return panels


def draw(fronts: Sequence[Front], panels: Panels, arguments: argparse.Namespace) -> None:
    """Write the plot and the page that the command line asks for."""
    from toolkit import frontpage

    studies = " and ".join(front.name for front in fronts)
    figure = figures.front_panels(panels, f"Pareto fronts of {studies}, on the validation split")
    figures.save(figure, arguments.output)
    print(f"\nPlot: {arguments.output}")
    if arguments.html:
        commands = {front.name: train_command(front.name, 0, arguments.db) for front in fronts}
        frontpage.write(arguments.html, figure, panels, commands)
        print(f"Page: {arguments.html}")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    add(
        "--db",
        metavar="URL",
        help="database of the studies (default: sqlite:///studies.db, else the trials in results/)",
    )
    add("--study", action="append", metavar="NAME", help="a study; may be given several times (default: all)")
    add(
        "--objectives",
        nargs="+",
        metavar="METRIC",
        help="two or more, such as accuracy, macro_f1, loss, worst_recall, latency, size, parameters "
        "(default: macro_precision macro_recall)",
    )
    add("--csv", metavar="FILE", help="write every trial with all that was recorded, for a spreadsheet")
    add("--json", metavar="FILE", help="write every trial as a line of JSON")
    add("--output", default="pareto.png", metavar="FILE", help="the plot")
    add(
        "--html",
        metavar="FILE",
        help="write the plot as a page, too, with each trial's configuration and command",
    )
    add("--verbose", action="store_true", help="print the hypervolume of each front, too")
    arguments = parser.parse_args(argv)
    names = arguments.objectives or PAIRS[0]
    objectives = [part for name in names for part in name.split(",") if part]
    if len(set(objectives)) < 2:
        raise InputError("a front needs two different objectives or more.")
    check_names(objectives)
    files.check_writable(arguments.output, figures.ENDINGS)
    for path in filter(None, (arguments.csv, arguments.json, arguments.html)):
        files.check_writable(path)

    fronts = read_fronts(arguments.db, arguments.study or [], objectives)
    every_trial = [trial for front in fronts for trial in front.trials]
    if arguments.csv:
        write_csv(arguments.csv, every_trial)
        print(f"Trials: {arguments.csv}")
    if arguments.json:
        files.write_lines(arguments.json, every_trial)
        print(f"Trials: {arguments.json}")
    if not any(front.finished for front in fronts):
        studies = ", ".join(front.name for front in fronts)
        raise InputError(f"no trial of {studies} has finished with a value of each objective yet.")
    print(table(fronts, objectives))
    if arguments.verbose:
        print_hypervolumes(fronts, objectives)
    panels = panels_of(fronts, itertools.combinations(objectives, 2) if arguments.objectives else PAIRS)
    draw(fronts, panels, arguments)
    print(f"Next: {next_command(fronts, objectives[0], arguments.db)}")


if __name__ == "__main__":
    commandline.run(main)
