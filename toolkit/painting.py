"""The window's logic, which needs no screen: what was drawn, and the threads that ask the classifiers."""

from __future__ import annotations

import argparse
import locale
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from classifier import ROOT, InputError
from toolkit.framing import frame_strokes
from toolkit.why import Part

import numpy as np

TEXTS = Path(__file__).parent / "window"  # one file of texts a language
LANGUAGES = sorted(path.stem for path in TEXTS.glob("*.yaml"))
CONTROL = "⌘" if sys.platform == "darwin" else "Ctrl+"
BOX = 500  # strokes live in a box of this side, the unit of the recorded drawings


class Drawing:
    """Strokes in a box of 500 x 500, x to the right, y downwards.

    Attributes
    ----------
    strokes : for each stroke its points (x, y).
    widths : for each stroke the width of its pen.
    revision : grows with every change, so that an answer to an older drawing can be told.
    pen_down : whether the last stroke is still being drawn.
    """

    def __init__(self) -> None:
        self.strokes: list[list[tuple[float, float]]] = []
        self.widths: list[float] = []
        self.revision = 0
        self.pen_down = False

    def press(self, x: float, y: float, width: float) -> None:
        """Put the pen down: start a stroke."""
        self.strokes.append([_inside(x, y)])
        self.widths.append(width)
        self.revision += 1
        self.pen_down = True

    def move(self, x: float, y: float) -> bool:
        """Move the pen. Return False if that draws nothing."""
        point = _inside(x, y)
        if not self.pen_down or point == self.strokes[-1][-1]:
            return False
        self.strokes[-1].append(point)
        self.revision += 1
        return True

    def lift(self) -> bool:
        """Lift the pen. Return False if it was up already."""
        was_down, self.pen_down = self.pen_down, False
        return was_down

    def undo(self) -> bool:
        """Take back the last stroke, finished or not. Return False if there is none."""
        return self._keep(len(self.strokes) - 1)

    def clear(self) -> bool:
        """Take back all strokes. Return False if there are none."""
        return self._keep(0)

    def _keep(self, count: int) -> bool:
        self.pen_down = False
        if not self.strokes:
            return False
        del self.strokes[count:], self.widths[count:]
        self.revision += 1
        return True

    def points(self) -> list[np.ndarray]:
        """Return the strokes, int16 (k, 2) each, rounded as they are saved."""
        return [np.rint(np.array(stroke)).astype(np.int16) for stroke in self.strokes]

    def image(self) -> np.ndarray:
        """Return what classifiers see: uint8 (28, 28), 0 paper, 255 ink."""
        return frame_strokes(self.points())


def _inside(x: float, y: float) -> tuple[float, float]:
    # A pen that leaves the box draws along its edge, so that classifiers see what the canvas shows.
    return min(max(x, 0.0), float(BOX)), min(max(y, 0.0), float(BOX))


class Answerer(Protocol):
    """What the window needs of a classifier."""

    @property
    def metrics(self) -> dict[str, Any]: ...

    def predict_proba(self, images: np.ndarray) -> np.ndarray | None: ...


class Model(NamedTuple):
    """One of the models that a classifier can take."""

    label: str  # in the menu, such as its path
    source: str  # on the card: whose it is
    load: Callable[[], Answerer]


class Answer(NamedTuple):
    """What a worker reports."""

    worker: Worker
    revision: int | None  # of the drawing; None reports that the classifier is loaded, or could not be
    probabilities: np.ndarray | None  # float32 (10,), or None if there is no answer
    error: Exception | None
    parts: list[Part] | None = None  # why it answers so, if that was asked; [] if it does not say


class Worker(threading.Thread):
    """Loads a classifier, then answers the latest drawing that it was asked about.

    Parameters
    ----------
    load : makes the classifier; called in this thread.
    answers : the queue that gets the reports.

    Attributes
    ----------
    classifier : None until it is loaded.
    """

    def __init__(self, load: Callable[[], Answerer], answers: queue.SimpleQueue[Answer]) -> None:
        super().__init__(daemon=True)
        self.classifier: Answerer | None = None
        self._load = load
        self._answers = answers
        self._asked: queue.SimpleQueue[tuple[int, np.ndarray, bool] | None] = queue.SimpleQueue()

    def ask(self, revision: int, image: np.ndarray, *, why: bool = False) -> None:
        """Ask about a drawing's image, uint8 (28, 28); the answer comes through the queue."""
        self._asked.put((revision, image, why))

    def stop(self) -> None:
        """Let the thread end when it has done what it is at."""
        self._asked.put(None)

    def run(self) -> None:
        try:
            classifier = self._load()
            # The first answer of some libraries takes many times as long as the others.
            classifier.predict_proba(np.zeros((28, 28), dtype=np.uint8))
            # A single image is too little work to share. With other work on 2 cores, three classifiers took
            # up to 280 ms without this and 17 ms with it.
            from threadpoolctl import threadpool_limits

            threadpool_limits(1)
        except Exception as error:  # whatever is wrong with one classifier, the others work
            self._answers.put(Answer(self, None, None, error))
            return
        self.classifier = classifier
        self._answers.put(Answer(self, None, None, None))
        while True:
            task = self._asked.get()
            while not self._asked.empty():  # only the latest drawing still matters
                task = self._asked.get()
            if task is None:
                return
            revision, image, why = task
            try:
                probabilities = classifier.predict_proba(image)
                if probabilities is not None and not (
                    probabilities.shape == (10,) and np.isfinite(probabilities).all()
                ):
                    raise ValueError(f"wanted 10 finite probabilities; got {probabilities}.")
                parts = explain(classifier, image) if why else None
                answer = Answer(self, revision, probabilities, None, parts)
            except Exception as error:
                answer = Answer(self, revision, None, error, [] if why else None)
            self._answers.put(answer)


def explain(classifier: Any, image: np.ndarray) -> list[Part]:
    """Let a classifier say why it answers as it does; [] if it does not, and a line if it fails."""
    try:
        return classifier.explain(image) if hasattr(classifier, "explain") else []
    except Exception as error:  # the answer itself stands
        return [Part(reason(error), [])]


def reason(error: Exception) -> str:
    """Say in a sentence why a classifier does not work."""
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed."
    ours = isinstance(error, (InputError, OSError))
    text = str(error) if ours else f"{type(error).__name__}: {error}"
    text = text.replace(f"{ROOT}{os.sep}", "")
    return text[:1].upper() + text[1:300]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a window's look and language, the same for every script that opens one."""
    parser.add_argument(
        "--dark", action="store_true", default=None, help="light on dark (default: as the system has it)"
    )
    parser.add_argument("--light", dest="dark", action="store_false", help="dark on light")
    parser.add_argument(
        "--scale",
        type=float,
        metavar="FACTOR",
        help="size of the window, 0.5 to 4 (default: by the screen's resolution)",
    )
    parser.add_argument(
        "--lang", choices=LANGUAGES, default=system_language(), help="language; the system's if it is there"
    )


def options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Painter` that the flags ask for; what they leave open, the system says."""
    return {
        "dark": system_is_dark() if arguments.dark is None else arguments.dark,
        "scale": arguments.scale,
        "language": arguments.lang,
    }


def system_language() -> str:
    """Return the language of the user's system if the window speaks it, else "en"."""
    variables = ("LC_ALL", "LC_MESSAGES", "LANG")
    name = next((os.environ[name] for name in variables if os.environ.get(name)), None)
    language = locale.normalize(name or locale.getlocale()[0] or "en")[:2]  # Windows says Spanish_Spain
    return language if language in LANGUAGES else "en"


def system_is_dark() -> bool:
    """Return whether the user's system is set to dark; False where that cannot be found out."""
    if sys.platform == "win32":
        import winreg

        place = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, place) as key:
                return not winreg.QueryValueEx(key, "AppsUseLightTheme")[0]
        except OSError:
            return False
    command = ["gsettings", "get", "org.gnome.desktop.interface", "color-scheme"]
    if sys.platform == "darwin":
        command = ["defaults", "read", "-g", "AppleInterfaceStyle"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=1)
    except (OSError, subprocess.SubprocessError):
        return False
    return "dark" in answer.stdout.lower()
