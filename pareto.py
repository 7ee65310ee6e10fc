"""The best trials of sweeps: those that no other trial beats in every objective (the Pareto front).

    python pareto.py                             # precision against recall, all studies in studies.db
    python pareto.py --study ann --objectives accuracy latency
    python pareto.py --csv trials.csv            # every trial with all that was recorded, for a spreadsheet
    python pareto.py --json trials.jsonl         # the same for programs: report.py reads it

Prints the configurations on each study's front and its hypervolume; the plot shows all trials, and the
region of the front large.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from classifier import InputError, write_safely
from toolkit import commandline, files, trials
from toolkit.metrics import METRICS, check_names

BLOCK = 256  # points that are compared with all others at once


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
    # Sorted: what dominates a point comes before it, so each block is compared with the front so far.
    distinct, place = np.unique(points[known], axis=0, return_inverse=True)
    front = distinct[:0]
    best = np.zeros(len(distinct), dtype=bool)
    for start in range(0, len(distinct), BLOCK):
        block = distinct[start : start + BLOCK]
        rivals = np.concatenate([front, block])
        no_worse = np.ones((len(rivals), len(block)), dtype=bool)
        for objective in range(points.shape[1]):
            no_worse &= rivals[:, objective, None] <= block[:, objective]
        best[start : start + BLOCK] = no_worse.sum(axis=0) == 1  # the point itself
        front = np.concatenate([front, block[best[start : start + BLOCK]]])
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
    points = np.array(fitness, dtype=np.float64).reshape(-1, len(reference))
    signs = np.where(np.broadcast_to(maximize, len(reference)), -1.0, 1.0)
    corner = signs * np.array(reference, dtype=np.float64)
    points = points * signs
    points = points[(points < corner).all(axis=1)]
    return _volume(points[is_pareto_optimal(points, maximize=False)], corner) if len(points) else 0.0


def _volume(points: np.ndarray, corner: np.ndarray) -> float:
    """Return the volume between non-dominated points (n, k) and the corner, which is above all of them."""
    if points.shape[1] == 1:
        return float(corner[0] - points.min())
    points = points[np.argsort(points[:, 0], kind="stable")]
    edges = np.append(points[:, 0], corner[0])
    total = 0.0
    for index in range(len(points)):
        width = edges[index + 1] - edges[index]
        if width > 0:
            others = points[: index + 1, 1:]
            total += width * _volume(others[is_pareto_optimal(others, maximize=False)], corner[1:])
    return total


class Front:
    """The trials of one study, and which of them are on its front.

    Attributes
    ----------
    name : of the study.
    trials : all of them, as `trials.read_trials` returns them.
    finished : the finished ones that have all objectives.
    values : their objectives, float64 (n, k).
    optimal : bool (n,), which of these are on the front.
    left_out : how many finished trials lack an objective.
    """

    def __init__(self, name: str, trials: list[dict[str, Any]], objectives: Sequence[str]) -> None:
        self.name, self.trials = name, trials
        done = [trial for trial in trials if trial["state"] == "finished"]
        rows = [[_number(trial.get(objective)) for objective in objectives] for trial in done]
        values = np.array(rows, dtype=np.float64).reshape(-1, len(objectives))
        whole = np.asarray(~np.isnan(values).any(axis=1))
        self.finished = [trial for trial, keep in zip(done, whole, strict=True) if keep]
        self.left_out = len(done) - len(self.finished)
        self.values = values[whole]
        self.optimal = is_pareto_optimal(self.values, [METRICS[name].maximize for name in objectives])

    def count(self, state: str) -> int:
        """Return how many trials ended in a state."""
        return sum(trial["state"] == state for trial in self.trials)

    def best_first(self, maximize: bool) -> np.ndarray:
        """Return the indices of the trials on the front, int (m,), the best in the first objective first."""
        chosen = np.flatnonzero(self.optimal)
        return chosen[np.argsort(self.values[chosen, 0] * (-1 if maximize else 1), kind="stable")]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def table(fronts: Sequence[Front], objectives: Sequence[str]) -> str:
    """Return the configurations on the fronts as text.

    What all trials on a front have in common stands above them, once.
    """
    blocks = []
    for front in fronts:
        chosen = front.best_first(METRICS[objectives[0]].maximize)
        best = [front.finished[index] for index in chosen]
        lines = [f"{front.name}: {len(best)} of {len(front.trials)} trials on the front"]
        parameters = [trial["trial_parameters"] for trial in best]
        shared = _shared(parameters) if len(best) > 1 else {}
        if shared:
            lines.append("  all: " + _listed(shared))
        rows = [["trial", *objectives, "configuration"]]
        for trial, index, values in zip(best, chosen, parameters, strict=True):
            own = {name: value for name, value in values.items() if name not in shared}
            rows.append([str(trial["number"]), *_numbers(objectives, front.values[index]), _listed(own)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join(["", *cells, row[-1]]).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _numbers(objectives: Sequence[str], values: Iterable[float]) -> list[str]:
    return [METRICS[name].text(value) for name, value in zip(objectives, values, strict=True)]


def _shared(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values that all of the dictionaries have."""
    first, *others = parameters
    return {
        name: value for name, value in first.items() if all(name in o and o[name] == value for o in others)
    }


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def write_csv(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write trials for a spreadsheet; what is nested has columns of its own, such as config.epochs."""
    flat_rows = []
    for row in rows:
        flat: dict[str, Any] = {}
        for key, value in row.items():
            prefix = {"trial_parameters": "parameter", "versions": "version"}.get(key, key)
            if isinstance(value, dict):
                flat |= {f"{prefix}.{name}": entry for name, entry in value.items()}
            else:
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


def read_fronts(db: str, names: Sequence[str], objectives: Sequence[str]) -> dict[str, Front]:
    """Return the front of each study (all of them when none is named), and print what it leaves out."""
    fronts = {}
    for name in dict.fromkeys(names or trials.study_names(db)):
        front = fronts[name] = Front(name, trials.read_trials(db, name), objectives)
        if front.left_out:
            print(f"{name}: {front.left_out} finished trials lack a value of an objective: left out.")
    if not fronts:
        raise InputError(
            f"there is no study in {trials.shown_url(db)}; sweep_ann.py and sweep_svm.py make them."
        )
    return fronts


def print_hypervolumes(
    fronts: Sequence[Front], objectives: Sequence[str], reference: Sequence[float]
) -> None:
    """Print the hypervolume of each front, and its share of the box from the reference to the best values."""
    maximize = [METRICS[name].maximize for name in objectives]
    everything = np.concatenate([front.values for front in fronts])
    ideal = np.where(maximize, everything.max(axis=0), everything.min(axis=0))
    box = float(np.prod(np.abs(ideal - reference)))
    numbers = _numbers(objectives, reference)
    shown = ", ".join(f"{name} {number}" for name, number in zip(objectives, numbers, strict=True))
    for front in fronts:
        volume = hypervolume(front.values[front.optimal], reference, maximize)
        share = f", {volume / box:.1%} of the box from there to the best of each" if box else ""
        print(f"Hypervolume of {front.name}: {volume:.4g}{share} (reference point: {shown})")


def next_command(fronts: Sequence[Front], objectives: Sequence[str], db: str) -> str:
    """Return the command that trains the trial that is the best in the first objective."""
    maximize = METRICS[objectives[0]].maximize
    firsts = [(front, front.best_first(maximize)[0]) for front in fronts if front.optimal.any()]
    front, index = (max if maximize else min)(firsts, key=lambda pair: pair[0].values[pair[1], 0])
    kind = trials.kind_of(db, front.name)
    study = "" if front.name == kind else f" --study {front.name}"
    number = front.finished[index]["number"]
    return f"python train_{kind}.py --from-trial {number} --final{study}{trials.database_flag(db)}"


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    add("--db", default=trials.DEFAULT_DB, metavar="URL", help="database of the studies")
    add("--study", action="append", metavar="NAME", help="a study; may be given several times (default: all)")
    add(
        "--objectives",
        nargs="+",
        metavar="METRIC",
        help="two or more, such as accuracy, macro_f1, loss, worst_recall, latency, size, parameters "
        "(default: macro_precision macro_recall)",
    )
    add(
        "--csv",
        metavar="FILE",
        help="write every trial with its configuration and metrics, for a spreadsheet",
    )
    add("--json", metavar="FILE", help="write every trial as a line of JSON")
    add("--output", default="pareto.png", metavar="FILE", help="the plot")
    arguments = parser.parse_args(argv)
    names = arguments.objectives or ["macro_precision", "macro_recall"]
    objectives = [part for name in names for part in name.split(",") if part]
    if len(set(objectives)) < 2:
        raise InputError("a front needs two different objectives or more.")
    check_names(objectives)

    fronts = list(read_fronts(arguments.db, arguments.study or [], objectives).values())
    every_trial = [trial for front in fronts for trial in front.trials]
    if arguments.csv:
        write_csv(arguments.csv, every_trial)
        print(f"Trials: {arguments.csv}")
    if arguments.json:
        files.write_lines(arguments.json, every_trial)
        print(f"Trials: {arguments.json}")
    everything = np.concatenate([front.values for front in fronts])
    if len(everything) == 0:
        studies = ", ".join(front.name for front in fronts)
        raise InputError(f"no trial of {studies} has finished with a value of each objective yet.")
    print(table(fronts, objectives), end="\n\n")
    maximize = [METRICS[name].maximize for name in objectives]
    # The worst of all finished trials: what is on a front is at least as good.
    reference = np.where(maximize, everything.min(axis=0), everything.max(axis=0)).tolist()
    print_hypervolumes(fronts, objectives, reference)

    from toolkit import figures

    figures.save(figures.fronts(fronts, objectives), arguments.output)
    print(f"Plot: {arguments.output}")
    print(f"Next: {next_command(fronts, objectives, arguments.db)}")


if __name__ == "__main__":
    commandline.run(main)
