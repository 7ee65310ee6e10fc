"""Test the softmax regression: metrics, confusion matrix, worst mistakes.

    python test_softmax.py                                # on the 10,000 test images of MNIST
    python test_softmax.py --drawn drawings.npz           # on recorded strokes
    python test_softmax.py --drawn FOLDER --json out.json # on pictures named LABEL_anything.png

The test split is reported on, nothing is ever chosen on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import commandline, evaluation

if TYPE_CHECKING:
    from softmax import Softmax


def load(path: Path) -> Softmax:
    from softmax import Softmax

    return Softmax.load(path)


def main(argv: list[str] | None = None) -> None:
    evaluation.command("softmax", __doc__, load, argv)


if __name__ == "__main__":
    commandline.run(main)
