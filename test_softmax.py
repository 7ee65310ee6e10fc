"""Test softmax regression: metrics, confusion matrix, worst mistakes.

    python test_softmax.py                                # on the 10,000 test images of MNIST
    python test_softmax.py --drawn pendigits              # on recorded strokes
    python test_softmax.py --drawn FOLDER --json out.json # on pictures named LABEL_anything.png

The test split is for reporting. Nothing is ever chosen on it.
"""

from __future__ import annotations

from toolkit import commandline, evaluation


def main(argv: list[str] | None = None) -> None:
    arguments = evaluation.parse("softmax", __doc__, argv)
    from softmax import Softmax

    evaluation.test(Softmax, arguments)


if __name__ == "__main__":
    commandline.run(main)
