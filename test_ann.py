"""Test the neural network: metrics, confusion matrix, worst mistakes.

    python test_ann.py                                # on the 10,000 test images of MNIST
    python test_ann.py --drawn drawings.npz           # on recorded strokes
    python test_ann.py --drawn FOLDER --json out.json # on pictures named LABEL_anything.png

The test split is reported on, nothing is ever chosen on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import commandline, evaluation

if TYPE_CHECKING:
    from ann import ANN


def load(path: Path) -> ANN:
    from ann import ANN

    return ANN.load(path)


def main(argv: list[str] | None = None) -> None:
    evaluation.command("ann", __doc__, load, argv)


if __name__ == "__main__":
    commandline.run(main)
