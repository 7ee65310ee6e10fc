"""Test the support vector machine: metrics, confusion matrix, worst mistakes.

    python test_svm.py                                # on the 10,000 test images of MNIST
    python test_svm.py --drawn pendigits              # on recorded strokes
    python test_svm.py --drawn FOLDER --json out.json # on pictures named LABEL_anything.png

The test split is for reporting. Nothing is ever chosen on it.
"""

from __future__ import annotations

from toolkit import commandline, evaluation


def main(argv: list[str] | None = None) -> None:
    arguments = evaluation.parse("svm", __doc__, argv)
    from svm import SVM

    evaluation.test(SVM, arguments)


if __name__ == "__main__":
    commandline.run(main)
