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

SPACE: dict[str, Any] = {
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3},
    "parameters": {
        # the network
        "conv_stages": {"min": 0, "max": 3},  # 0: fully connected layers alone
        "first_channels": {"values": [8, 16, 24, 32]},  # twice as many in each next stage
        "convs_per_stage": {"min": 1, "max": 2},
        "kernel_size": {"values": [3, 5]},
        "pooling": {"values": ["max", "average", "stride"]},
        "head": {"values": ["max", "average", "flatten"]},
        "hidden_layers": {"min": 0, "max": 2},
        "hidden_units": {"values": [32, 64, 128, 256]},
        "dropout": {"min": 0.0, "max": 0.5},
        "batch_norm": {"values": [True, False]},
        "activation": {"values": ["ReLU", "PReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Tanh"]},
        # its training
        "optimizer": {"values": ["SGD", "RMSprop", "Adam", "NAdam", "AdamW"]},
        "learning_rate": {"distribution": "log_uniform_values", "min": 3e-4, "max": 3e-2},
        "momentum": {"min": 0.5, "max": 0.95},
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-1},
        "schedule": {"values": ["one-cycle", "cosine", "constant"]},
        "batch_size": {"values": [32, 64, 128, 256]},
        "loss": {"values": ["cross-entropy", "margin", "mse"]},
        "label_smoothing": {"min": 0.0, "max": 0.1},
        "augmented": {"values": [False, True]},
        "augment": {"min": 0.2, "max": 1.2},  # its strength
        "epochs": {"value": 6},
    },
}
WITH_CONVOLUTIONS = {"conv_stages": [1, 2, 3]}
CONDITIONS: dict[str, dict[str, list[Any]]] = {
    **dict.fromkeys(("first_channels", "convs_per_stage", "kernel_size", "head"), WITH_CONVOLUTIONS),
    "pooling": {"conv_stages": [2, 3]},  # lies between two stages
    "hidden_units": {"hidden_layers": [1, 2]},
    "momentum": {"optimizer": ["SGD", "RMSprop"]},
    "label_smoothing": {"loss": ["cross-entropy"]},
    "augment": {"augmented": [True]},
}


def configure(parameters: dict[str, Any]) -> dict[str, Any]:
    """The whole configuration of `train_ann.train` that a trial's parameters stand for."""
    config = {**train_ann.CONFIG, **parameters}
    stages, first = config.pop("conv_stages"), config.pop("first_channels", 0)
    layers, units = config.pop("hidden_layers"), config.pop("hidden_units", 0)
    augmented = config.pop("augmented")
    return {
        **config,
        "conv_channels": [first * 2**stage for stage in range(stages)],
        "hidden": [units] * layers,
        "augment": config["augment"] if augmented else 0.0,
        "label_smoothing": config["label_smoothing"] if config["loss"] == "cross-entropy" else 0.0,
    }


# What `train_ann.py --augment` trains, in fewer epochs.
START = {"conv_stages": 3, "first_channels": 24, "convs_per_stage": 2, "kernel_size": 3, "pooling": "max"}
START |= {"head": "flatten", "hidden_layers": 0, "dropout": 0.0, "batch_norm": True, "activation": "ReLU"}
START |= {"optimizer": "AdamW", "learning_rate": 0.008, "weight_decay": 0.01, "schedule": "one-cycle"}
START |= {"batch_size": 128, "loss": "cross-entropy", "label_smoothing": 0.05}
START |= {"augmented": True, "augment": 1.0}
SEARCH = sweep.Search("ann", SPACE, train_ann.train, configure, CONDITIONS, START)


def main(argv: list[str] | None = None) -> None:
    sweep.main(SEARCH, __doc__, argv)


if __name__ == "__main__":
    commandline.run(main)
