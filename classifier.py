"""The one interface of every classifier, and the file that it is saved in.

    from svm import SVM
    classifier = SVM.load("models/svm.safetensors")
    classifier.predict(image)          # uint8 (28, 28) -> 7
    classifier.predict_proba(images)   # uint8 (n, 28, 28) -> float32 (n, 10)

A new model is a subclass that says which hyperparameters it has, how it computes probabilities, and which
arrays it consists of. `softmax.py` is the shortest example.

A model file is one `.safetensors` file: the arrays, and one JSON text with the format's version, the
model's kind, its configuration, what it was trained on and the metrics that it reached. Loading reads
arrays and text; nothing in a file is ever executed.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from toolkit.config import Config, known, option
from toolkit.files import (
    ROOT,
    InputError,
    ModelFileError,
    checksum,
    read_arrays,
    write_arrays,
    write_safely,
)

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ROOT", "Classifier", "Config", "InputError", "ModelFileError", "best_guess", "check_images"]
__all__ += ["expect_arrays", "find_model", "known", "option", "write_safely"]

FORMAT_VERSION = 1


class Classifier(abc.ABC):
    """A trained classifier of 28 x 28 images of digits.

    `SVM(C=10, gamma=2)` builds an untrained one; raises InputError for a wrong hyperparameter.

    Attributes
    ----------
    kind : names the model's files, e.g. "svm" for `train_svm.py` and `models/svm.safetensors`.
    name : what people read, e.g. "SVM".
    Config : the dataclass of its hyperparameters.
    config : its hyperparameters.
    trained_on : data set, split, augmentation, seed, library versions; {} before training.
    metrics : what it reached, e.g. {"accuracy": 0.994}.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    Config: ClassVar[type[Config]] = Config

    def __init__(self, **config: Any) -> None:
        self.config: Any = self.Config.read(config)
        self.trained_on: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}

    def probabilities(self, images: np.ndarray) -> Any:
        """Compute probabilities, float32 (n, 10), of a checked batch, uint8 (n, 28, 28); None: no answer.

        A classifier defines either these or its scores.
        """
        from scipy.special import softmax

        return softmax(self.scores(images), axis=1).astype(np.float32, copy=False)

    def scores(self, images: np.ndarray) -> Any:
        """Compute scores, float (n, 10), of a checked batch; their softmax are the probabilities.

        None: there are none, so nothing to calibrate.
        """
        return None

    def divide_scores(self, temperature: float) -> None:
        """Divide all scores, from now on, by a number above 0. That calibrates the probabilities."""
        raise NotImplementedError(f"{self.name} has no scores to divide.")

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that, with `config`, make up the trained classifier."""

    @abc.abstractmethod
    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over the arrays of a model file. Raises ValueError when their shapes do not fit."""

    def parameters(self) -> int:
        """Return how many numbers the classifier has learned."""
        return sum(int(array.size) for array in self.arrays().values())

    def predict_proba(self, images: np.ndarray) -> Any:
        """Return the probabilities of the ten digits.

        Parameters
        ----------
        images : uint8 (n, 28, 28), or (28, 28) for one image; 0 is paper, 255 is ink.

        Returns
        -------
        float32 (n, 10), or (10,) for one image; every row sums to 1. None when the classifier has no answer.

        Raises
        ------
        ValueError : another shape or dtype, or an empty batch.
        """
        batch, single = check_images(images)
        probabilities = self.probabilities(batch)
        if probabilities is None:
            return None
        # Damaged weights can overflow: such an answer says that every digit is as likely.
        probabilities[~np.isfinite(probabilities).all(axis=1)] = 0.1
        return probabilities[0] if single else probabilities

    def predict(self, images: np.ndarray) -> Any:
        """Return the most probable digit: an int for one (28, 28) image, int64 (n,) for a batch.

        Always the argmax of `predict_proba`; arguments and errors are the same.
        """
        probabilities = self.predict_proba(images)
        if probabilities is None:
            return None
        if probabilities.ndim == 1:
            return int(probabilities.argmax())
        return probabilities.argmax(axis=1).astype(np.int64)

    def explain(self, image: np.ndarray) -> list[Any]:
        """Say why the answer to one image, uint8 (28, 28), is what it is.

        Returns parts, each `toolkit.why.Part`; [] for a classifier that explains nothing or has no answer.
        """
        digit = self.predict(image)
        return [] if digit is None else self.explanation(image, digit)

    def explanation(self, image: np.ndarray, digit: int) -> list[Any]:
        """Return the parts of `explain`, for the answer `digit`."""
        return []

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, whole or not at all."""
        header = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "config": self.config.values(),
            "trained_on": self.trained_on,
            "metrics": self.metrics,
        }
        arrays = self.arrays()
        write_arrays(path, arrays, {**header, "sha256": checksum(arrays)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file.

        Raises
        ------
        ModelFileError : no such file, not a model file of this project, damaged, of another kind or
            version, or with arrays that do not fit its configuration. The sentence says which.
        """
        arrays, header = read_arrays(path)
        kind, version = header.get("kind"), header.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelFileError(
                f"{path} has model file version {version!r}; this program reads version {FORMAT_VERSION}."
            )
        if kind != cls.kind:
            raise ModelFileError(f"{path} holds a model of kind {kind!r}, not {cls.kind!r}.")
        _check_header(path, header)
        try:
            classifier = cls(**header["config"])
            classifier.set_arrays(arrays)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFileError(f"{path} does not fit its own configuration: {error}") from error
        if header.get("sha256", "") not in ("", checksum(arrays)):  # older files have none
            raise ModelFileError(f"{path} is damaged: its arrays are not those that were saved.")
        classifier.trained_on = header["trained_on"]
        classifier.metrics = header["metrics"]
        return classifier


def _check_header(path: str | os.PathLike[str], header: Mapping[str, Any]) -> None:
    """Raise ModelFileError when an entry that is read later is missing or of another type."""
    for key in ("config", "trained_on", "metrics"):
        if not isinstance(header.get(key), dict):
            raise ModelFileError(f"{path} is damaged: its header has no {key!r}.")
    unsure_below, count = header["metrics"].get("unsure_below", 0), header["trained_on"].get("count", 0)
    if not (isinstance(unsure_below, (int, float)) and 0 <= unsure_below <= 1):
        raise ModelFileError(f"{path} is damaged: its 'unsure_below' is {unsure_below!r:.40}.")
    if type(count) is not int or not isinstance(header["trained_on"].get("config", {}), dict):
        raise ModelFileError(f"{path} is damaged: its 'trained_on' holds something else.")


def best_guess(probabilities: np.ndarray, unsure_below: float | None) -> tuple[int, bool]:
    """Return the most probable digit of float32 (10,), and whether the classifier is unsure of it.

    It is unsure when the probability lies below `unsure_below`, an entry of its metrics that
    `certainty.fit_threshold` fits. Without a threshold it is never unsure.
    """
    digit = int(probabilities.argmax())
    return digit, unsure_below is not None and bool(probabilities[digit] < unsure_below)


def check_images(images: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the images as a batch (n, 28, 28), and whether a single (28, 28) image came.

    Raises ValueError, with what came and what was wanted, for anything but uint8 images.
    """
    wanted = "wanted uint8 images of shape (28, 28) or (n, 28, 28), 0 for paper and 255 for ink"
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{wanted}; got {type(images).__name__}.")
    if images.dtype != np.uint8:
        found = f"dtype {images.dtype}"
        if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
            found += " with NaN or infinite values"
        raise ValueError(f"{wanted}; got {found}.")
    if images.ndim not in (2, 3) or images.shape[-2:] != (28, 28):
        raise ValueError(f"{wanted}; got shape {images.shape}.")
    if images.size == 0:
        raise ValueError(f"{wanted}; got an empty batch, shape {images.shape}.")
    single = images.ndim == 2
    return (images[None] if single else images), single


def expect_arrays(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[tuple[int | None, ...], Any]]
) -> None:
    """Check names, shapes (None fits any length) and dtypes of a model file's arrays, and for finite numbers.

    Raises ValueError with the first name that does not fit.
    """
    if set(arrays) != set(wanted):
        raise ValueError(f"it holds the arrays {sorted(arrays)}, wanted {sorted(wanted)}.")
    for name, (shape, dtype) in wanted.items():
        array = arrays[name]
        fits = len(array.shape) == len(shape) and all(
            w in (None, got) for got, w in zip(array.shape, shape, strict=True)
        )
        if not fits or array.dtype != np.dtype(dtype):
            asked = "x".join("n" if w is None else str(w) for w in shape) or "scalar"
            got = "x".join(map(str, array.shape)) or "scalar"
            raise ValueError(f"array {name!r} is {got} {array.dtype}, wanted {asked} {np.dtype(dtype)}.")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"array {name!r} holds NaN or infinite numbers.")


def find_model(kind: str) -> Path:
    """Return the path of a kind's model: the user's own in `trained/`, else the shipped one in `models/`.

    When neither exists, it is the path in `trained/`.
    """
    own = ROOT / "trained" / f"{kind}.safetensors"
    shipped = ROOT / "models" / f"{kind}.safetensors"
    return shipped if shipped.is_file() and not own.is_file() else own
