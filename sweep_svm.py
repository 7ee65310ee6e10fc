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

SPACE: dict[str, Any] = {
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "features": {"values": ["hog", "deslanted", "pixels"]},
        "pca": {"values": [0, 50, 100, 200]},
        "kernel": {"values": ["rbf", "poly", "sigmoid", "linear"]},
        "C": {"distribution": "log_uniform_values", "min": 0.1, "max": 30.0},
        # Oriented gradients have length 1, pixels about 10: kernels of them need other widths.
        "gamma_hog": {"distribution": "log_uniform_values", "min": 0.1, "max": 5.0},
        "gamma_pixels": {"distribution": "log_uniform_values", "min": 0.002, "max": 0.05},
        "degree": {"min": 2, "max": 4},
        "coef0": {"min": 0.0, "max": 1.0},
        "augmented": {"values": [False, True]},
        "augment": {"min": 0.2, "max": 1.2},  # its strength
        "copies": {"values": [1, 2]},  # variants of each image
    },
}
CONDITIONS: dict[str, dict[str, list[Any]]] = {
    "gamma_hog": {"kernel": ["rbf", "poly", "sigmoid"], "features": ["hog"]},
    "gamma_pixels": {"kernel": ["rbf", "poly", "sigmoid"], "features": ["deslanted", "pixels"]},
    "degree": {"kernel": ["poly"]},
    "coef0": {"kernel": ["poly", "sigmoid"]},
    "augment": {"augmented": [True]},
    "copies": {"augmented": [True]},
}


def configure(parameters: dict[str, Any]) -> dict[str, Any]:
    """The whole configuration of `train_svm.train` that a trial's parameters stand for."""
    config = {**train_svm.CONFIG, **parameters}
    widths = [config.pop(name, None) for name in ("gamma_hog", "gamma_pixels")]
    gamma = next((width for width in widths if width), train_svm.CONFIG["gamma"])
    augmented = config.pop("augmented")
    return {**config, "gamma": gamma, "augment": config["augment"] if augmented else 0.0}


# What `train_svm.py --augment` fits.
START = {"features": "hog", "pca": 200, "kernel": "rbf", "C": 5.0, "gamma_hog": 1.5}
START |= {"augmented": True, "augment": 1.0, "copies": 2}
SEARCH = sweep.Search("svm", SPACE, train_svm.train, configure, CONDITIONS, START, epochs=False)


def main(argv: list[str] | None = None) -> None:
    sweep.main(SEARCH, __doc__, argv)


if __name__ == "__main__":
    commandline.run(main)
