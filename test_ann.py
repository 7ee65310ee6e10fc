"""Test the neural network: metrics, confusion matrix, worst mistakes.

    python test_ann.py                                # on the 10,000 test images of MNIST
    python test_ann.py --drawn pendigits              # on recorded strokes
    python test_ann.py --drawn FOLDER --json out.json # on pictures named LABEL_anything.png

The test split is for reporting. Nothing is ever chosen on it.
"""

from __future__ import annotations

from toolkit import commandline, evaluation


def main(argv: list[str] | None = None) -> None:
    arguments = evaluation.parse("ann", __doc__, argv)
    from ann import ANN

    evaluation.test(ANN, arguments)


if __name__ == "__main__":
    commandline.run(main)
