"""Measure what the Bayesian search is worth: TPE with pruning against random search without.

    python bench/sweep_comparison.py             # 3 seeds x 2 searches x 40 trials; about an hour

Both searches get the same seeds and number of trials, with 6,000 images in the train split. The studies are
kept in a database, so that a run that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sweep_ann
from toolkit import commandline, datasets, sweep, trials
from toolkit.sweep import Settings

import numpy as np


def small_space() -> dict[str, Any]:
    """Return the space of `sweep_ann.py` without its large networks, which would take a day."""
    from optuna.distributions import CategoricalDistribution

    space = sweep_ann.space()
    channels, kernels = CategoricalDistribution([4, 8, 16]), CategoricalDistribution([3])
    space["first_channels"] = (channels, space["first_channels"][1])
    space["kernel_size"] = (kernels, space["kernel_size"][1])
    return space


SEARCH = dataclasses.replace(sweep_ann.SEARCH, space=small_space)
SEARCHES = {
    "tpe, hyperband": {"sampler": "tpe", "pruner": "hyperband"},
    "random, no pruning": {"sampler": "random", "pruner": "none"},
}


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--seeds", type=commandline.positive_int, default=3, help="how many, from 0")
    parser.add_argument("--trials", type=commandline.positive_int, default=40, help="of each search")
    parser.add_argument("--workers", type=commandline.positive_int, default=1, help="processes")
    parser.add_argument("--db", default="sqlite:///sweep_comparison.db", metavar="URL", help="database")
    datasets.add_flags(parser)
    parser.set_defaults(limit=6000)
    arguments = vars(parser.parse_args(argv))
    seeds = range(arguments.pop("seeds"))

    print(f"{'':<26}best loss   epochs   minutes   finished   pruned   failed")
    line = "{:<24}{:>11.4f}{:>9.1f}{:>10.1f}{:>11.1f}{:>9.1f}{:>9.1f}"
    for search, choices in SEARCHES.items():
        reached = []
        for seed in seeds:
            study = f"{search}, {seed}"
            sweep.run(SEARCH, Settings(**arguments, **choices, study=study, seed=seed, quiet=True))
            rows = trials.read_trials(arguments["db"], study)
            own = {state: [row for row in rows if row["state"] == state] for state in trials.ENDED}
            # Without interrupted trials: the search did not spend their epochs.
            spent = [row for rows in own.values() for row in rows]
            loss = min(row["loss"] for row in own["finished"])
            epochs = sum(row.get("epochs", 0) for row in spent)
            minutes = sum(row.get("train_seconds", 0) for row in spent) / 60
            reached.append([loss, epochs, minutes, *map(len, own.values())])
            print(line.format(study, *reached[-1]), flush=True)
        print(line.format(f"{search}, mean", *np.mean(reached, axis=0)))


if __name__ == "__main__":
    commandline.run(main)
