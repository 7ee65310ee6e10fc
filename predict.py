"""Draw a digit and watch every classifier answer, or read digits from pictures.

    python predict.py                       # open the window
    python predict.py --browser             # the same as a page in a browser, where there is no screen
    python predict.py seven.png scan.jpg    # print the answers, one line a picture

Each classifier takes the model that you trained, from `trained/`, or else the shipped one, from `models/`. A
"?" after a digit means that the classifier is unsure: its probability is below the threshold fitted for it.
"not a digit?" before the answers means that the detector takes the picture for something else. A picture
holds one digit of any size, dark on light or light on dark.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from classifier import ROOT, Classifier, InputError, best_guess, find_model
from toolkit import commandline, painting

if TYPE_CHECKING:
    from detector import Detector
    from digitpainter import Painter
    from toolkit.report.texts import Texts

# Each classifier's module and class. The class is also the name that people read, and the module names the
# command that makes its model. To add a classifier, add it here.
CLASSIFIERS = {
    "softmax": "Softmax",
    "svm": "SVM",
    "ann": "ANN",
}
LEARNERS = ("ann", "svm")  # those that `train_*.py --from` lets learn from corrections


def load_class(kind: str) -> type[Classifier]:
    """Import the class of a classifier, and with it the library that it needs."""
    return getattr(import_module(kind), CLASSIFIERS[kind])


def load(kind: str, path: Path | None = None) -> Classifier:
    """Load a classifier's model from a file, by default the one that `find_model` finds.

    Raises ModelFileError if the model file is missing or damaged, and ImportError if a library is missing.
    """
    return load_class(kind).load(path or find_model(kind))


def find_models(kind: str) -> list[Path]:
    """Return the files of a classifier's models: first the one that is taken unless another is chosen."""
    first, own = find_model(kind), sorted((ROOT / "trained").glob(f"{kind}*.safetensors"))
    files = [first, *own, ROOT / "models" / f"{kind}.safetensors"]
    return [path for path in dict.fromkeys(files) if path.is_file()]


def load_detector() -> Detector | None:
    """Load the detector, which says whether an image is a digit; None if there is no file of it.

    Raises ModelFileError if the file is damaged, and ImportError if a library is missing.
    """
    path = find_model("detector")
    if not path.is_file():
        return None
    from detector import Detector

    return Detector.load(path)


def command(kind: str) -> str:
    """Return the command that makes a classifier's model."""
    return f"python train_{kind}.py"


def models(kind: str, texts: Texts) -> list[painting.Model]:
    """Return a classifier's models for its card, in the order of `find_models`."""
    return [
        painting.Model(
            str(path.relative_to(ROOT)),
            texts.say("own" if path.parent.name == "trained" else "shipped"),
            partial(load, kind, path),
        )
        for path in find_models(kind)
    ]


def register(painter: Painter) -> None:
    """Register every classifier, with all its models, in a window, and let them learn from corrections."""
    from toolkit import corrections, learning

    cards = {}
    for kind, name in CLASSIFIERS.items():
        known = models(kind, painter.texts)
        source = known[0].source if known else ""
        cards[kind] = painter.register(
            name, partial(load, kind), source=source, command=command(kind), models=known
        )
    painter.judge(load_detector)
    learners = [
        learning.Learner(
            cards[kind],
            partial(learning_command, kind),
            ROOT / "trained" / f"{kind}.safetensors",
            partial(models, kind, painter.texts),
        )
        for kind in LEARNERS
        if kind in cards
    ]
    learning.Lessons(painter, corrections.PATH, learners)


def learning_command(kind: str) -> list[str]:
    """Return the command that lets a classifier learn from the corrections."""
    from toolkit.corrections import PATH

    words = ["--quiet", "--from", find_model(kind), "--drawings", PATH]
    return [sys.executable, str(ROOT / f"train_{kind}.py"), *map(str, words)]


def open_window(options: dict[str, Any]) -> NoReturn:
    """Show the window until it is closed, then exit. Raises InputError if there is no display.

    `options` are the keyword arguments of `Painter`.
    """
    from digitpainter import Painter

    painter = Painter(**options)
    register(painter)
    _run_and_exit(painter.run)


def serve_page(port: int, language: str, *, show: bool) -> NoReturn:
    """Serve the page until Ctrl-C, then exit. `show` opens it. Raises InputError if the port is taken."""
    from toolkit import browser

    server = browser.Server(port, language=language, load_detector=load_detector)
    for kind, name in CLASSIFIERS.items():
        source = "".join(f"{model.source}\n{model.label}" for model in models(kind, server.texts)[:1])
        server.register(name, partial(load, kind), source=source, command=command(kind))
    print(f"Draw at {server.url} (Ctrl-C ends it).\n{browser.forwarding(server.url)}", flush=True)
    if show:
        browser.open_browser(server.url)
    _run_and_exit(server.serve_forever)


def _run_and_exit(run: Callable[[], None]) -> NoReturn:
    """Call `run`, then exit: with 130 after Ctrl-C, else with 0."""
    status = 0
    try:
        run()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not change how this ends
        print("Interrupted.", file=sys.stderr, flush=True)
        status = 130
    # A thread may still be importing a library, which can abort an interpreter that shuts down around it.
    os._exit(status)


def answer_pictures(files: list[str]) -> None:
    """Print each classifier's digit and its probability, one line a picture.

    Raises InputError if a file is not a picture (before any answer), or if no classifier has a model.
    """
    from toolkit.drawings import read_picture
    from toolkit.framing import frame_picture

    images = [frame_picture(read_picture(file)) for file in files]
    classifiers: dict[str, Classifier] = {}
    for kind, name in CLASSIFIERS.items():
        try:
            classifiers[name] = load(kind)
        except (InputError, ImportError) as error:
            print(f"{name} does not answer: {error} To make its model: {command(kind)}", file=sys.stderr)
    if not classifiers:
        raise InputError("no classifier can answer.")
    try:
        detector = load_detector()
    except (InputError, ImportError) as error:
        print(f"What is not a digit gets answers like a digit: {error}", file=sys.stderr)
        detector = None
    for file, image in zip(files, images, strict=True):
        answers = []
        for name, classifier in classifiers.items():
            probabilities = classifier.predict_proba(image) if image.any() else None
            if probabilities is not None:
                digit, unsure = best_guess(probabilities, classifier.metrics.get("unsure_below"))
                answers.append(f"{name} {digit}{'?' if unsure else ''} ({probabilities[digit]:.3f})")
        doubt = "not a digit? " if answers and detector and not detector.is_digit(image) else ""
        print(f"{file}: {doubt}{', '.join(answers) or 'no digit'}")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help="a picture of a digit; without one the window opens"
    )
    painting.add_flags(parser)
    page = parser.add_argument_group("in a browser")
    page.add_argument("--browser", action="store_true", help="serve a page on this computer to draw in")
    page.add_argument("--port", type=int, default=0, help="of the page; 0 for any free one")
    page.add_argument("--no-open", action="store_true", help="only print the page's address")
    arguments = parser.parse_args(argv)
    if arguments.browser and (arguments.pictures or arguments.dark is not None or arguments.scale):
        parser.error("--browser takes no pictures, --dark, --light or --scale: the page follows the browser")
    if not arguments.browser and (arguments.port or arguments.no_open):
        parser.error("--port and --no-open belong to --browser")
    if arguments.pictures:
        answer_pictures(arguments.pictures)
    elif arguments.browser:
        serve_page(arguments.port, arguments.lang, show=not arguments.no_open)
    else:
        open_window(painting.options(arguments))


if __name__ == "__main__":
    commandline.run(main)
