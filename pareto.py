"""The best trials of sweeps: those that no other trial beats in every objective (the Pareto front).

    python pareto.py                             # precision against recall, all studies in studies.db
    python pareto.py --study ann --objectives accuracy latency
    python pareto.py --csv trials.csv            # every trial with all that was recorded of it

Prints the configurations on each study's front and its hypervolume; the plot shows all trials, and the
region of the front large.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier import InputError, write_safely
from toolkit import commandline, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK = 256  # points compared at once where there are more than three objectives
COLOURS = ("#1f5fa8", "#c8501e", "#2b7d4f", "#7a4a9e", "#8a6d1a", "#4f6470")
MOST_LABELS = 30  # on the plot; the table has all
NAMES = {"latency": "prediction time of an image", "size": "size of the model file", "loss": "log loss"}
UNITS = {"latency": "s", "size": "bytes", "train_seconds": "s"}


def is_pareto_optimal(fitness: Any, maximize: bool | Sequence[bool] = True) -> np.ndarray:
    """Which points no other point dominates.

    A point dominates another one where it is at least as good in every objective and better in one. Of
    equal points none dominates the other. The answer is exact: values are compared, never rounded.

    Parameters
    ----------
    fitness : numbers (n, k), a row a point; infinities are numbers. Rows with NaN are left out: they are
        not optimal, dominate nothing, and a warning says how many they are.
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
    if directions.ndim == 0:
        directions = np.broadcast_to(directions, points.shape[1:])
    if directions.shape != points.shape[1:]:
        raise ValueError(f"wanted {points.shape[1]} directions; got {len(directions)}.")
    points[:, directions] *= -1  # from here on, less is better
    known = ~np.isnan(points).any(axis=1)
    if not known.all():
        warnings.warn(f"{(~known).sum()} of {len(points)} points have NaN and are left out.", stacklevel=2)
    optimal = np.zeros(len(points), dtype=bool)
    rows = np.flatnonzero(known)
    if len(rows) == 0:
        return optimal
    # Sorted by the first objective, then the second, ...: whatever dominates a point comes before it.
    rows = rows[np.lexsort(points[rows].T[::-1])]
    ordered = points[rows]
    is_new = np.ones(len(rows), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    # Of different points in this order, one dominates a later one where it is no worse from the second
    # objective on; equal points share their answer.
    rest = ordered[is_new, 1:]
    if rest.shape[1] == 0:
        best = np.arange(len(rest)) == 0
    elif rest.shape[1] == 1:
        best = np.ones(len(rest), dtype=bool)
        best[1:] = rest[1:, 0] < np.minimum.accumulate(rest[:-1, 0])
    else:
        best = _staircase(rest) if rest.shape[1] == 2 else _by_blocks(rest)
    optimal[rows] = best[np.cumsum(is_new) - 1]
    return optimal


def _staircase(rest: np.ndarray) -> np.ndarray:
    """Which points (n, 2) have none before them that is no worse in both; in n log n comparisons.

    After H. Kung, F. Luccio, F. Preparata: On finding the maxima of a set of vectors, 1975: the best
    second value among the points so far falls like a staircase as the first value grows.
    """
    best = np.zeros(len(rest), dtype=bool)
    firsts: list[float] = []
    seconds: list[float] = []
    for index, (first, second) in enumerate(rest.tolist()):
        place = bisect_right(firsts, first)
        if place and seconds[place - 1] <= second:
            continue
        best[index] = True
        # The steps that the new one covers go.
        start = place - 1 if place and firsts[place - 1] == first else place
        end = start
        while end < len(seconds) and seconds[end] >= second:
            end += 1
        firsts[start:end] = [first]
        seconds[start:end] = [second]
    return best


def _by_blocks(rest: np.ndarray) -> np.ndarray:
    """Which points (n, d) have none before them that is no worse in all d; for any d."""
    best = np.ones(len(rest), dtype=bool)
    front = np.empty((0, rest.shape[1]))
    for start in range(0, len(rest), BLOCK):
        block = rest[start : start + BLOCK]
        alive = np.ones(len(block), dtype=bool)
        for part in range(0, len(front), BLOCK):
            left = np.flatnonzero(alive)
            worse = (front[part : part + BLOCK, None] <= block[None, left]).all(axis=2).any(axis=0)
            alive[left[worse]] = False
        left = np.flatnonzero(alive)
        beaten = (block[left, None] <= block[None, left]).all(axis=2)
        # Only by those before it: row before column.
        alive[left] = ~np.triu(beaten, 1).any(axis=0)
        best[start : start + BLOCK] = alive
        front = np.concatenate([front, block[alive]])
    return best


def hypervolume(fitness: Any, reference: Sequence[float], maximize: bool | Sequence[bool] = True) -> float:
    """The volume that points dominate, up to a reference point: the more, the better the front.

    Points that are not better than the reference in every objective add nothing. Exact, by slicing along
    one objective after the other; meant for fronts of hundreds of points in up to four objectives.

    Parameters
    ----------
    fitness : numbers (n, k) without NaN.
    reference : (k,), a point no better than those to be counted.
    maximize : as in `is_pareto_optimal`.
    """
    points = np.array(fitness, dtype=np.float64).reshape(-1, len(reference))
    signs = np.where(np.broadcast_to(maximize, len(reference)), -1.0, 1.0)
    corner = signs * np.array(reference, dtype=np.float64)
    points = points * signs
    points = points[(points < corner).all(axis=1)]
    return _volume(points[is_pareto_optimal(points, maximize=False)], corner) if len(points) else 0.0


def _volume(points: np.ndarray, corner: np.ndarray) -> float:
    """The volume between non-dominated points (n, k) and the corner, all of them below it."""
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
    trials : every record, as `study.Study.records` gives them.
    finished : the records that have all objectives.
    values : their objectives, float64 (n, k).
    optimal : bool (n,), which of these are on the front, in that study alone.
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
        self.optimal: np.ndarray = is_pareto_optimal(
            self.values, [study.MAXIMIZE[name] for name in objectives]
        )

    def count(self, state: str) -> int:
        """How many trials ended so."""
        return sum(trial["state"] == state for trial in self.trials)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def table(fronts: Sequence[Front], objectives: Sequence[str]) -> str:
    """The configurations on the fronts, the best in the first objective first.

    What all of a study's have in common stands above them, once.
    """
    blocks = []
    for front in fronts:
        chosen = np.flatnonzero(front.optimal)
        sign = -1 if study.MAXIMIZE[objectives[0]] else 1
        chosen = chosen[np.argsort(sign * front.values[chosen, 0], kind="stable")]
        trials = [front.finished[index] for index in chosen]
        lines = [f"{front.name}: {len(trials)} of {len(front.trials)} trials on the front"]
        parameters = [trial["trial_parameters"] for trial in trials]
        names = list(dict.fromkeys(name for values in parameters for name in values))
        shared = [
            name
            for name in names
            if len(trials) > 1
            and all(name in values and values[name] == parameters[0][name] for values in parameters)
        ]
        if shared:
            lines.append("  all: " + ", ".join(f"{name} {_text(parameters[0][name])}" for name in shared))
        rows = [["trial", *objectives, "configuration"]]
        for trial, index, values in zip(trials, chosen, parameters, strict=True):
            own = ", ".join(f"{name} {_text(value)}" for name, value in values.items() if name not in shared)
            figures = [
                _figure(name, value) for name, value in zip(objectives, front.values[index], strict=True)
            ]
            rows.append([str(trial["number"]), *figures, own])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join(["", *cells, row[-1]]).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _figure(name: str, value: float) -> str:
    if study.MAXIMIZE[name]:
        return f"{100 * value:.3f} %"
    return f"{value:,.0f}" if name in ("size", "parameters", "epochs") else f"{value:.3g}"


def export_csv(fronts: Sequence[Front], path: str) -> None:
    """Write every trial, a line each; configurations and parameters have columns of their own."""
    rows = []
    for front in fronts:
        for trial in front.trials:
            row: dict[str, Any] = {"study": front.name, "number": trial["number"], "state": trial["state"]}
            for key, value in trial.items():
                if key in ("config", "trial_parameters", "machine", "versions"):
                    prefix = {"trial_parameters": "parameter", "versions": "version"}.get(key, key)
                    row.update({f"{prefix}.{name}": entry for name, entry in value.items()})
                elif key not in ("heartbeat", "worker"):
                    row[key] = value
            rows.append(row)
    first = ["study", "number", "state", "reason", "started", "ended", *study.MAXIMIZE]
    columns = [name for name in first if any(name in row for row in rows)]
    columns += sorted({name for row in rows for name in row} - set(columns))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_safely(path, buffer.getvalue().encode())


def plot(fronts: Sequence[Front], objectives: Sequence[str], path: str, reference: Sequence[float]) -> None:
    """Draw the trials as a PNG: for each pair of objectives all of them, and the front's region large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = [(x, y) for x in range(len(objectives)) for y in range(x + 1, len(objectives))]
    figure = Figure(figsize=(13, 0.6 + 5.4 * len(pairs)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)  # for the labels: it measures text
    grid = figure.subplots(len(pairs), 2, squeeze=False, width_ratios=(2, 3))
    for (x, y), (whole, zoomed) in zip(pairs, grid, strict=True):
        for axes in (whole, zoomed):
            _draw(axes, fronts, objectives, x, y, reference if len(objectives) == 2 else None)
        view = _view_of_fronts(fronts, objectives, x, y, zoomed)
        (x0, x1), (y0, y1) = view
        whole.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], "--", color="0.3", lw=1)
        zoomed.set(xlim=view[0], ylim=view[1])
        outside = sum(_count_outside(front.values[:, [x, y]], view) for front in fronts)
        whole.set_title("all finished trials")
        zoomed.set_title("where the front lies" + (f" ({outside} trials are outside)" if outside else ""))
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
    # The labels go where there is room, which is known when everything else has its place for good.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for (x, y), (_, zoomed) in zip(pairs, grid, strict=True):
        _label(zoomed, fronts, objectives, x, y)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_safely(path, buffer.getvalue())


def _draw(
    axes: Axes,
    fronts: Sequence[Front],
    objectives: Sequence[str],
    x: int,
    y: int,
    reference: Sequence[float] | None,
) -> None:
    for front, colour in zip(fronts, _colours(len(fronts)), strict=True):
        optimal, values = front.optimal, front.values[:, [x, y]]
        others = [f"{front.count(state)} {state}" for state in ("pruned", "failed") if front.count(state)]
        note = ", ".join([f"{(~optimal).sum()} dominated", *others, *_not_done(front)])
        axes.plot(
            *values[~optimal].T,
            "o",
            color=colour,
            alpha=0.35,
            ms=5,
            mec="none",
            label=f"{front.name}: {note}",
        )
        if reference is not None and optimal.any():
            corners = _corners(values[optimal], (reference[x], reference[y]), study.MAXIMIZE[objectives[x]])
            axes.plot(*corners[1:-1].T, "-", color=colour, lw=1, alpha=0.8)
            axes.fill(*np.vstack([corners, [reference[x], reference[y]]]).T, color=colour, alpha=0.07, lw=0)
        axes.plot(
            *values[optimal].T,
            "o",
            color=colour,
            ms=8,
            mec="white",
            label=f"{front.name}: {optimal.sum()} on the front",
        )
    for column, scale, label in (
        (x, axes.set_xscale, axes.set_xlabel),
        (y, axes.set_yscale, axes.set_ylabel),
    ):
        name, every = objectives[column], np.concatenate([front.values[:, column] for front in fronts])
        if every.min() > 0 and every.max() > 10 * every.min():
            scale("log")
        unit = f", {UNITS[name]}" if name in UNITS else ""
        better = "more" if study.MAXIMIZE[name] else "less"
        label(f"{NAMES.get(name, name.replace('_', ' '))}{unit} ({better} is better)")
    axes.grid(alpha=0.25)


def _not_done(front: Front) -> list[str]:
    states = ("interrupted", "running", "waiting")
    notes = [f"{front.count(state)} {state}" for state in states if front.count(state)]
    return notes + ([f"{front.left_out} without a value"] if front.left_out else [])


def _corners(points: np.ndarray, reference: tuple[float, float], more_is_better: bool) -> np.ndarray:
    """The outline of what points (n, 2) dominate up to the reference, from one of its sides to the other."""
    ordered = points[np.argsort(points[:, 0] * (-1 if more_is_better else 1), kind="stable")]
    outline = [(ordered[0, 0], reference[1])]
    for index, (first, second) in enumerate(ordered):
        outline.append((first, second))
        following = ordered[index + 1, 0] if index + 1 < len(ordered) else reference[0]
        outline.append((following, second))
    return np.array(outline)


def _view_of_fronts(
    fronts: Sequence[Front], objectives: Sequence[str], x: int, y: int, axes: Axes
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The limits of both axes around all points on a front, with room for their labels."""
    points = np.concatenate([front.values[front.optimal][:, [x, y]] for front in fronts])
    limits = []
    for column, scale in ((0, axes.get_xscale()), (1, axes.get_yscale())):
        every = np.concatenate([front.values[:, (x, y)[column]] for front in fronts])
        values, spread = points[:, column], np.ptp(every)
        if scale == "log":
            values, spread = np.log(values), np.ptp(np.log(every))
        # A front of one point, or of equal values, gets a tenth of what all trials span.
        width = max(np.ptp(values), 0.1 * spread, 1e-9 * np.abs(values).max(), 1e-12)
        low, high = values.min() - 0.2 * width, values.max() + 0.2 * width
        limits.append((math.exp(low), math.exp(high)) if scale == "log" else (low, high))
    return limits[0], limits[1]


def _count_outside(values: np.ndarray, view: tuple[tuple[float, float], tuple[float, float]]) -> int:
    low, high = np.array(view).T
    return int((~((values >= low) & (values <= high)).all(axis=1)).sum())


def _label(axes: Axes, fronts: Sequence[Front], objectives: Sequence[str], x: int, y: int) -> None:
    """Write the trials' numbers beside the fronts' points, so that no label covers another or a point."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    renderer = axes.get_figure().canvas.get_renderer()  # type: ignore[union-attr]
    frame = axes.get_window_extent(renderer)
    points = [
        (*axes.transData.transform((front.values[index, x], front.values[index, y])), front, trial, colour)
        for front, colour in zip(fronts, _colours(len(fronts)), strict=True)
        for index, trial in enumerate(front.finished)
        if front.optimal[index]
    ]
    taken = [Bbox.from_bounds(px - 7, py - 7, 14, 14) for px, py, *_ in points]
    # Towards the better of both objectives there are no other points.
    towards = [1 if study.MAXIMIZE[objectives[column]] else -1 for column in (x, y)]
    first = math.atan2(towards[1], towards[0])
    turns = [first + sign * math.pi * step / 6 for step in range(7) for sign in (1, -1)]
    every = max(1, math.ceil(len(points) / MOST_LABELS))
    for px, py, front, trial, colour in sorted(points, key=lambda point: point[0])[::every]:
        note = axes.annotate(
            f"{front.name} {trial['number']}" if len(fronts) > 1 else str(trial["number"]),
            (px, py),
            xycoords="figure pixels",
            fontsize=9,
            color=colour,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "lw": 0.6, "color": colour, "shrinkA": 0, "shrinkB": 5},
        )
        size = note.get_window_extent(renderer)
        boxes = (
            Bbox.from_bounds(
                px + (radius + size.width / 3) * math.cos(turn) - size.width / 2,
                py + radius * math.sin(turn) - size.height / 2,
                size.width,
                size.height,
            )
            for radius in (20, 32, 46, 64, 84, 106, 130, 160, 200)
            for turn in turns
        )
        inside = (box for box in boxes if frame.x0 < box.x0 and box.x1 < frame.x1)
        inside = (box for box in inside if frame.y0 < box.y0 and box.y1 < frame.y1)
        box = next((box for box in inside if not any(map(box.overlaps, taken))), None)
        if box is None:
            note.remove()
        else:
            note.set_position((box.x0, box.y0))
            taken.append(box.padded(3))


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    add("--db", default=study.DEFAULT_DB, metavar="URL", help="database of the studies")
    add("--study", action="append", metavar="NAME", help="a study; may be given several times (default: all)")
    add(
        "--objectives",
        nargs="+",
        default=["macro_precision", "macro_recall"],
        metavar="METRIC",
        help="two or more, such as accuracy, macro_f1, loss, worst_recall, latency, size, parameters",
    )
    add("--csv", metavar="FILE", help="write every trial with its configuration and metrics")
    add("--output", default="pareto.png", metavar="FILE", help="the plot")
    arguments = parser.parse_args(argv)
    objectives = [part for name in arguments.objectives for part in name.split(",") if part]
    for name in objectives:
        if name not in study.MAXIMIZE:
            short = [key for key in study.MAXIMIZE if key[-1] not in "0123456789"]
            raise InputError(
                f"unknown objective {name!r}; known are {', '.join(short)}, precision_0 to f1_9."
            )
    if len(objectives) < 2 or len(set(objectives)) < len(objectives):
        raise InputError("a front needs two different objectives or more.")

    fronts = []
    for name in dict.fromkeys(arguments.study or study.study_names(arguments.db)):
        with study.open_study(arguments.db, name) as opened:
            fronts.append(Front(name, opened.records(), objectives))
    if not fronts:
        raise InputError(f"there is no study in {arguments.db}; sweep_ann.py and sweep_svm.py make them.")
    if arguments.csv:
        export_csv(fronts, arguments.csv)
        print(f"Trials: {arguments.csv}")
    for front in fronts:
        if front.left_out:
            print(f"{front.name}: {front.left_out} finished trials lack a value of an objective: left out.")
    everything = np.concatenate([front.values for front in fronts])
    if len(everything) == 0:
        raise InputError(f"no trial of {', '.join(front.name for front in fronts)} has finished yet.")
    print(table(fronts, objectives), end="\n\n")
    maximize = np.array([study.MAXIMIZE[name] for name in objectives])
    # The worst of all finished trials: whatever is on a front is at least as good.
    reference = np.where(maximize, everything.min(axis=0), everything.max(axis=0))
    ideal = np.where(maximize, everything.max(axis=0), everything.min(axis=0))
    box = float(np.prod(np.abs(ideal - reference)))
    shown = ", ".join(
        f"{name} {_figure(name, value)}" for name, value in zip(objectives, reference, strict=True)
    )
    for front in fronts:
        volume = hypervolume(front.values[front.optimal], reference.tolist(), maximize.tolist())
        share = f", {volume / box:.1%} of the box from there to the best of each" if box else ""
        print(f"Hypervolume of {front.name}: {volume:.4g}{share} (reference point: {shown})")
    plot(fronts, objectives, arguments.output, reference.tolist())
    print(f"Plot: {arguments.output}")


if __name__ == "__main__":
    commandline.run(main)
