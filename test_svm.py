"""Test the support vector machine: metrics, confusion matrix, worst mistakes.

    python test_svm.py                                # on the 10,000 test images of MNIST
    python test_svm.py --drawn drawings.npz           # on recorded strokes
    python test_svm.py --drawn FOLDER --json out.json # on pictures named LABEL_anything.png

The test split is reported on, nothing is ever chosen on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import commandline, evaluation

if TYPE_CHECKING:
    from svm import SVM


def load(path: Path) -> SVM:
    from svm import SVM

    return SVM.load(path)


def main(argv: list[str] | None = None) -> None:
    evaluation.command("svm", __doc__, load, argv)


if __name__ == "__main__":
    commandline.run(main)
