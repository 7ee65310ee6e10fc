"""What the Bayesian search is worth: TPE with pruning against random search without.

    python bench/sweep_comparison.py             # 3 seeds x 2 searches x 40 trials; about an hour
    python bench/sweep_comparison.py --report    # the table of what is there so far

Both searches get the same seeds and number of trials, with 6,000 images in the train split. The studies are
kept in a database, so that a run that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sweep_ann
from classifier import InputError
from toolkit import commandline, datasets, sweep, trials


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
    "tpe, {pruner}": {"sampler": "tpe"},
    "random, no pruning": {"sampler": "random", "pruner": "none"},
}


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--seeds", type=commandline.positive_int, default=3, help="how many, from 0")
    parser.add_argument("--trials", type=commandline.positive_int, default=40, help="of each search")
    parser.add_argument(
        "--pruner", choices=("hyperband", "median"), default="hyperband", help="of the TPE search"
    )
    parser.add_argument("--workers", type=commandline.positive_int, default=1, help="processes")
    parser.add_argument("--db", default="sqlite:///sweep_comparison.db", metavar="URL", help="database")
    parser.add_argument("--report", action="store_true", help="run nothing")
    datasets.add_flags(parser)
    parser.set_defaults(limit=6000)
    arguments = parser.parse_args(argv)

    results: dict[str, list[tuple[float, float, float]]] = {}
    print("search, seed                          best loss   epochs   minutes   finished   pruned   failed")
    for seed in range(arguments.seeds):
        for title, choices in SEARCHES.items():
            search = title.format(pruner=arguments.pruner)
            name = f"{search}, {seed}"
            settings = sweep.Settings(
                **{"pruner": arguments.pruner, **choices},
                trials=arguments.trials,
                db=arguments.db,
                study=name,
                workers=arguments.workers,
                seed=seed,
                dataset=arguments.dataset,
                data=arguments.data,
                limit=arguments.limit,
                quiet=True,
            )
            if not arguments.report:
                sweep.run(SEARCH, settings)
            try:
                rows = trials.read_trials(arguments.db, name)
            except InputError:
                continue
            losses = [trial["loss"] for trial in rows if trial["state"] == "finished"]
            if not losses:
                continue
            # Without interrupted trials: the search did not spend their epochs.
            spent = [trial for trial in rows if trial["state"] in ("finished", "pruned", "failed")]
            epochs = sum(trial.get("epochs", 0) for trial in spent)
            minutes = sum(trial.get("train_seconds", 0) for trial in spent) / 60
            results.setdefault(search, []).append((min(losses), epochs, minutes))
            counts = [
                sum(trial["state"] == state for trial in rows) for state in ("finished", "pruned", "failed")
            ]
            print(
                f"{name:<36}{min(losses):>11.4f}{epochs:>9.0f}{minutes:>10.1f}{counts[0]:>11}{counts[1]:>9}{counts[2]:>9}"
            )
    for search, reached in results.items():
        loss, epochs, minutes = (statistics.mean(column) for column in zip(*reached, strict=True))
        print(f"{search + f', mean of {len(reached)}':<36}{loss:>11.4f}{epochs:>9.1f}{minutes:>10.1f}")


if __name__ == "__main__":
    commandline.run(main)
