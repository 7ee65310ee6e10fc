"""Search for a good neural network.

    python sweep_ann.py --trials 40              # Bayesian search on this machine, no account needed
    python sweep_ann.py --workers 2              # two processes on one study, a core each
    python sweep_ann.py --objectives accuracy latency
    python sweep_ann.py --objectives loss drawn_accuracy --drawn captured/me.npz
    python sweep_ann.py --engine wandb           # the same space as a sweep of Weights & Biases
    python sweep_ann.py --db postgresql://user@host/name    # the same on every machine: one study

Every trial is kept in the database (studies.db), whatever became of it. After a kill, the same command
goes on. `python pareto.py` shows the best trials; `python train_ann.py --from-trial N --final` trains one.
"""

from __future__ import annotations

from typing import Any

import train_ann
from toolkit import commandline, sweep

EPOCHS = 6  # of every trial


def space() -> dict[str, Any]:
    """Return what to search: name -> distribution, or (distribution, condition on what was drawn before)."""
    from optuna.distributions import CategoricalDistribution as Choice
    from optuna.distributions import FloatDistribution as Float
    from optuna.distributions import IntDistribution as Int

    def convolutional(drawn: dict[str, Any]) -> bool:
        return drawn["conv_stages"] > 0

    return {
        # the network
        "conv_stages": Int(0, 3),  # 0: fully connected layers alone
        "first_channels": (Choice([8, 16, 24, 32]), convolutional),  # twice as many in each next stage
        "convs_per_stage": (Int(1, 2), convolutional),
        "kernel_size": (Choice([3, 5]), convolutional),
        "pooling": (Choice(["max", "average", "stride", "stem"]), convolutional),
        "head": (Choice(["max", "average", "flatten"]), convolutional),
        "hidden_layers": Int(0, 2),
        "hidden_units": (Choice([32, 64, 128, 256]), lambda drawn: drawn["hidden_layers"] > 0),
        "dropout": Float(0, 0.5),
        "batch_norm": Choice([True, False]),
        "activation": Choice(["ReLU", "PReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Tanh"]),
        # its training
        "optimizer": Choice(["SGD", "RMSprop", "Adam", "NAdam", "AdamW"]),
        "learning_rate": Float(3e-4, 3e-2, log=True),
        "momentum": (Float(0.5, 0.95), lambda drawn: drawn["optimizer"] in ("SGD", "RMSprop")),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "schedule": Choice(["one-cycle", "cosine", "constant"]),
        "batch_size": Choice([32, 64, 128, 256]),
        "loss": Choice(["cross-entropy", "margin", "mse"]),
        "label_smoothing": (Float(0, 0.1), lambda drawn: drawn["loss"] == "cross-entropy"),
        "augmented": Choice([False, True]),
        "augment": (Float(0.2, 1.2), lambda drawn: drawn["augmented"]),  # its strength
    }


def configure(drawn: dict[str, Any]) -> dict[str, Any]:
    """Translate what was drawn into fields of `train_ann.Config`."""
    config = dict(drawn)
    stages, first = config.pop("conv_stages"), config.pop("first_channels", 0)
    layers, units = config.pop("hidden_layers"), config.pop("hidden_units", 0)
    del config["augmented"]
    return {
        **config,
        "conv_channels": [first * 2**stage for stage in range(stages)],
        "hidden": [units] * layers,
        "epochs": EPOCHS,
    }


# The first trial: what `train_ann.py --augment` trains, in fewer epochs.
START = {"conv_stages": 3, "first_channels": 32, "hidden_layers": 0, "augmented": True, "augment": 1.0}
SEARCH = sweep.Search("ann", train_ann.Config, train_ann.train, space, configure, START)


def main(argv: list[str] | None = None) -> None:
    sweep.main(SEARCH, __doc__, argv)


if __name__ == "__main__":
    commandline.run(main)
