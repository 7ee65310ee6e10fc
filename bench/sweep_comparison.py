"""What the Bayesian search is worth: TPE with pruning against random search without.

    python bench/sweep_comparison.py             # 3 seeds x 2 searches x 40 trials; about an hour
    python bench/sweep_comparison.py --report    # the table of what is there so far

Both searches get the same seeds and number of trials, on 6,000 images to fit and 6,000 to choose on. The
studies are kept in a database, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sweep_ann
from classifier import InputError
from toolkit import commandline, study, sweep

# The search space of `sweep_ann.py` with its small networks alone: with the large ones it takes a day.
SMALL = {"first_channels": {"values": [4, 8, 16]}, "kernel_size": {"values": [3]}}
SPACE = {**sweep_ann.SPACE, "parameters": {**sweep_ann.SPACE["parameters"], **SMALL}}
SEARCH = dataclasses.replace(sweep_ann.SEARCH, space=SPACE)
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
    commandline.add_data_flags(parser)
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
                with study.open_study(arguments.db, name) as opened:
                    trials = opened.records()
            except InputError:
                continue
            losses = [trial["loss"] for trial in trials if trial["state"] == "finished"]
            if not losses:
                continue
            # Interrupted trials too: their epochs were spent, but not by the search.
            spent = [trial for trial in trials if trial["state"] in ("finished", "pruned", "failed")]
            epochs = sum(trial.get("epochs", 0) for trial in spent)
            minutes = sum(trial.get("train_seconds", 0) for trial in spent) / 60
            results.setdefault(search, []).append((min(losses), epochs, minutes))
            counts = [
                sum(trial["state"] == state for trial in trials) for state in ("finished", "pruned", "failed")
            ]
            print(
                f"{name:<36}{min(losses):>11.4f}{epochs:>9.0f}{minutes:>10.1f}{counts[0]:>11}{counts[1]:>9}{counts[2]:>9}"
            )
    for search, rows in results.items():
        loss, epochs, minutes = (statistics.mean(column) for column in zip(*rows, strict=True))
        print(f"{search + f', mean of {len(rows)}':<36}{loss:>11.4f}{epochs:>9.1f}{minutes:>10.1f}")


if __name__ == "__main__":
    commandline.run(main)
