"""Search for a good support vector machine.

    python sweep_svm.py                          # 40 trials, Bayesian search on this machine
    python sweep_svm.py --trials 40 --limit 12000 --study quick --db sqlite:///quick.db
    python sweep_svm.py --objectives accuracy latency
    python sweep_svm.py --objectives loss drawn_accuracy --drawn captured/me.npz

Every trial is kept in the database (studies.db), whatever became of it. After a kill, the same command
goes on. `python pareto.py` shows the best trials; `python train_svm.py --from-trial N --final` trains one.
"""

from __future__ import annotations

from typing import Any

import train_svm
from toolkit import commandline, sweep


def space() -> dict[str, Any]:
    """Return what to search: name -> distribution, or (distribution, condition on what was drawn before)."""
    from optuna.distributions import CategoricalDistribution as Choice
    from optuna.distributions import FloatDistribution as Float
    from optuna.distributions import IntDistribution as Int

    def has_gamma(drawn: dict[str, Any]) -> bool:
        return drawn["kernel"] != "linear"

    return {
        "features": Choice(["hog", "deslanted", "pixels"]),
        "pca": Choice([0, 50, 100, 200]),
        "kernel": Choice(["rbf", "poly", "sigmoid", "linear"]),
        "C": Float(0.1, 30, log=True),
        # Oriented gradients have length 1, pixels about 10: their kernels need other widths.
        "gamma_hog": (Float(0.1, 5, log=True), lambda drawn: has_gamma(drawn) and drawn["features"] == "hog"),
        "gamma_pixels": (
            Float(0.002, 0.05, log=True),
            lambda drawn: has_gamma(drawn) and drawn["features"] != "hog",
        ),
        "degree": (Int(2, 4), lambda drawn: drawn["kernel"] == "poly"),
        "coef0": (Float(0, 1), lambda drawn: drawn["kernel"] in ("poly", "sigmoid")),
        "augmented": Choice([False, True]),
        "augment": (Float(0.2, 1.2), lambda drawn: drawn["augmented"]),  # its strength
        "copies": (Choice([1, 2]), lambda drawn: drawn["augmented"]),  # variants of each image
    }


def configure(drawn: dict[str, Any]) -> dict[str, Any]:
    """Translate what was drawn into fields of `train_svm.Config`."""
    names = {"gamma_hog": "gamma", "gamma_pixels": "gamma"}
    return {names.get(name, name): value for name, value in drawn.items() if name != "augmented"}


# The first trial: what `train_svm.py --augment` trains.
START = {"gamma_hog": 1.5, "augmented": True, "augment": 1.0}
SEARCH = sweep.Search("svm", train_svm.Config, train_svm.train, space, configure, START)


def main(argv: list[str] | None = None) -> None:
    sweep.main(SEARCH, __doc__, argv)


if __name__ == "__main__":
    commandline.run(main)
