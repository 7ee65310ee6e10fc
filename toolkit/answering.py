"""The thread of one classifier: it loads the classifier, then answers drawing after drawing."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from classifier import ROOT, InputError


class Answerer(Protocol):
    """What the window needs of a classifier."""

    @property
    def metrics(self) -> dict[str, Any]: ...

    def predict_proba(self, images: np.ndarray) -> np.ndarray | None: ...


class Answer(NamedTuple):
    """What a worker reports.

    Attributes
    ----------
    worker : who reports.
    revision : the drawing that was asked about; None reports that the classifier is loaded, or could not be.
    probabilities : float32 (10,), or None if there is no answer.
    error : what went wrong, or None.
    """

    worker: Worker
    revision: int | None
    probabilities: np.ndarray | None
    error: Exception | None


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
        self._asked: queue.SimpleQueue[tuple[int, np.ndarray] | None] = queue.SimpleQueue()

    def ask(self, revision: int, image: np.ndarray) -> None:
        """Ask about a drawing's image, uint8 (28, 28); the answer comes through the queue."""
        self._asked.put((revision, image))

    def stop(self) -> None:
        """Let the thread end when it has done what it is at."""
        self._asked.put(None)

    def run(self) -> None:
        try:
            classifier = self._load()
            # The first answer of some libraries takes many times as long as the others.
            classifier.predict_proba(np.zeros((28, 28), dtype=np.uint8))
            _use_one_core()
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
            revision, image = task
            try:
                answer = Answer(self, revision, _checked(classifier.predict_proba(image)), None)
            except Exception as error:
                answer = Answer(self, revision, None, error)
            self._answers.put(answer)


def _use_one_core() -> None:
    """Keep this thread's linear algebra to one core: a single image is too little work to share.

    With other work on 2 cores, answers of three classifiers took up to 280 ms without this and 17 ms with it.
    """
    with contextlib.suppress(ImportError):  # it comes with scikit-learn
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)


def _checked(probabilities: np.ndarray | None) -> np.ndarray | None:
    """Return an answer unchanged. Raise ValueError if it is not what the interface promises."""
    if probabilities is not None and (probabilities.shape != (10,) or not np.isfinite(probabilities).all()):
        raise ValueError(f"wanted 10 finite probabilities; got {probabilities}.")
    return probabilities


def reason(error: Exception) -> str:
    """Say in a sentence why a classifier does not work."""
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed."
    ours = isinstance(error, (InputError, OSError))
    text = str(error) if ours else f"{type(error).__name__}: {error}"
    text = text.replace(f"{ROOT}{os.sep}", "")
    return text[:1].upper() + text[1:300]
