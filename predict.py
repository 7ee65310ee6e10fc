"""Draw a digit and watch every classifier answer, or read digits from pictures.

    python predict.py                       # opens the window
    python predict.py seven.png scan.jpg    # answers on the terminal, one line a picture

Each classifier's model is the one in `trained/` that you trained, else the one in `models/`. A "?" behind a
digit: the classifier is unsure, by the threshold that was fitted for it. Pictures hold one digit each, of any
size, dark on light or light on dark.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module

from classifier import ROOT, Classifier, InputError, best_guess, find_model
from toolkit import commandline

# Name, class, and the command that makes its model file `trained/<module>.safetensors`. A classifier that is
# added here stands in the window and answers on the terminal.
CLASSIFIERS = (
    ("Softmax", "softmax.Softmax", "python train_softmax.py"),
    ("SVM", "svm.SVM", "python train_svm.py"),
    ("ANN", "ann.ANN", "python train_ann.py --augment"),
)


def load(path: str) -> Classifier:
    """The classifier of the class `module.Class`, from its model file; its library is imported only here.

    Raises ModelFileError for a model file that is missing or damaged, ImportError for a missing library.
    """
    module, name = path.split(".")
    return getattr(import_module(module), name).load(find_model(module))


def source(path: str) -> str:
    """Which model file is taken, for a person: whose it is, and its path from the root; "" for none."""
    file = find_model(path.split(".")[0])
    if not file.exists():
        return ""
    whose = "your model" if file.parent.name == "trained" else "shipped model"
    return f"{whose}\n{file.relative_to(ROOT)}"


def open_window(*, dark: bool, scale: float | None) -> None:
    """Show the window until it is closed; InputError where there is no display."""
    try:
        from digitpainter import Painter
    except ModuleNotFoundError as error:
        if error.name not in ("tkinter", "_tkinter"):
            raise
        raise InputError(
            "This Python has no tkinter; install it (on Debian: apt install python3-tk)."
        ) from None
    painter = Painter(dark=dark, scale=scale)
    for name, path, command in CLASSIFIERS:
        painter.register(name, partial(load, path), source=source(path), command=command)
    painter.run()


def answer_pictures(files: list[str]) -> None:
    """Print a line for each picture: each classifier's digit and its probability.

    Raises InputError for a file that is no picture (before any answer), and where no classifier can be had.
    """
    from toolkit.datasets import read_picture
    from toolkit.framing import frame_picture

    images = [frame_picture(read_picture(file)) for file in files]
    classifiers: dict[str, Classifier] = {}
    for name, path, command in CLASSIFIERS:
        try:
            classifiers[name] = load(path)
        except (InputError, ImportError) as error:
            print(f"{name} does not answer: {error} To make it: {command}", file=sys.stderr)
    if not classifiers:
        raise InputError("no classifier can answer.")
    for file, image in zip(files, images, strict=True):
        answers = []
        for name, classifier in classifiers.items():
            probabilities = classifier.predict_proba(image) if image.any() else None
            if probabilities is not None:
                digit, unsure = best_guess(probabilities, classifier.metrics.get("unsure_below"))
                answers.append(f"{name} {digit}{'?' if unsure else ''} ({probabilities[digit]:.3f})")
        print(f"{file}: {', '.join(answers) or 'no digit'}")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help="a picture of a digit (none: the window)"
    )
    parser.add_argument("--dark", action="store_true", help="light on dark")
    parser.add_argument(
        "--scale",
        type=float,
        metavar="FACTOR",
        help="how large the window is, 0.5 to 4 (default: what the screen asks for)",
    )
    arguments = parser.parse_args(argv)
    if arguments.pictures:
        answer_pictures(arguments.pictures)
    else:
        open_window(dark=arguments.dark, scale=arguments.scale)


if __name__ == "__main__":
    commandline.run(main)
