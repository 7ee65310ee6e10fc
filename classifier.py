"""The one interface of every classifier, and the file that it is saved in.

    from svm import SVM
    classifier = SVM.load("models/svm.safetensors")
    classifier.predict(image)          # (28, 28) uint8 -> 7
    classifier.predict_proba(images)   # (n, 28, 28) uint8 -> (n, 10) float32

A new model is a subclass that says how it computes probabilities, which arrays it consists of and
how it is built again from them (see `softmax.py`, the shortest one).

A model file is one `.safetensors` file: the arrays, and as metadata one JSON text under the key
`digits` with the format's version, the model's kind, its configuration, what it was trained on and
the metrics that it reached. Loading reads arrays and text; nothing in a file is ever executed.
"""

from __future__ import annotations

import abc
import json
import os
import platform
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT_VERSION = 1
ROOT = Path(__file__).resolve().parent


class InputError(ValueError):
    """Something that the user can mend: a command line prints its one sentence and exits with 2."""


class ModelFileError(InputError):
    """A model file that is missing, damaged, not ours or of another kind."""


def known(name: str, value: Any, choices: Collection[str]) -> Any:
    """`value`, where it is one of the choices; else an InputError with the list of known ones."""
    if value not in choices:
        raise InputError(f"unknown {name} {value!r}; known are {', '.join(choices)}.")
    return value


class Classifier(abc.ABC):
    """A trained classifier of 28 x 28 images of digits.

    Attributes
    ----------
    kind : which class reads a model file, and the file's usual name, e.g. "svm".
    name : how the classifier is called where a person reads it, e.g. "SVM".
    config : JSON-able keyword arguments that build the same classifier, untrained.
    trained_on : data set, split, augmentation, seed, library versions; {} before training.
    metrics : what it reached, e.g. {"val_accuracy": 0.994}.
    """

    kind: ClassVar[str]
    name: ClassVar[str]

    def __init__(self, **config: Any) -> None:
        self.config: dict[str, Any] = config
        self.trained_on: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}

    @abc.abstractmethod
    def probabilities(self, images: np.ndarray) -> np.ndarray | None:
        """Probabilities, float32 (n, 10), of a checked batch, uint8 (n, 28, 28); None: no answer."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that, with `config`, make up the trained classifier."""

    @abc.abstractmethod
    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over the arrays of a model file; raises ValueError where their shapes do not fit."""

    def predict_proba(self, images: np.ndarray) -> np.ndarray | None:
        """Probabilities of the ten digits.

        Parameters
        ----------
        images : uint8 (n, 28, 28), or (28, 28) for one image; 0 is paper, 255 is ink.

        Returns
        -------
        float32 (n, 10), or (10,) for one image, every row summing to 1;
        None where the classifier has no answer.

        Raises
        ------
        ValueError : another shape or dtype, or an empty batch.
        """
        batch, single = check_images(images)
        probabilities = self.probabilities(batch)
        if probabilities is None:
            return None
        return probabilities[0] if single else probabilities

    def predict(self, images: np.ndarray) -> int | np.ndarray | None:
        """The most probable digit: an int for one (28, 28) image, int64 (n,) for a batch.

        Always the argmax of `predict_proba`; arguments and errors are the same.
        """
        probabilities = self.predict_proba(images)
        if probabilities is None:
            return None
        if probabilities.ndim == 1:
            return int(probabilities.argmax())
        return probabilities.argmax(axis=1).astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, whole or not at all: beside the target first, then renamed."""
        header = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "config": self.config,
            "trained_on": self.trained_on,
            "metrics": self.metrics,
        }
        write_arrays(path, self.arrays(), header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file.

        Raises
        ------
        ModelFileError : no such file, not a model file of this project, damaged, of another kind
            or version, or with arrays that do not fit its configuration; the sentence says which.
        """
        arrays, header = read_arrays(path)
        kind, version = header.get("kind"), header.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelFileError(
                f"{path} has model file version {version!r}; this program reads version {FORMAT_VERSION}."
            )
        if kind != cls.kind:
            raise ModelFileError(f"{path} holds a model of kind {kind!r}, not {cls.kind!r}.")
        for key in ("config", "trained_on", "metrics"):
            if not isinstance(header.get(key), dict):
                raise ModelFileError(f"{path} is damaged: its header has no {key!r}.")
        try:
            classifier = cls(**header["config"])
            classifier.set_arrays(arrays)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFileError(f"{path} does not fit its own configuration: {error}") from error
        classifier.trained_on = header["trained_on"]
        classifier.metrics = header["metrics"]
        return classifier


def best_guess(probabilities: np.ndarray, unsure_below: float | None) -> tuple[int, bool]:
    """The most probable digit of float32 (10,), and whether its probability lies below the threshold.

    `unsure_below` is the entry of that name in a classifier's metrics, as `evaluation.fit_threshold` fits
    it; without one nothing is called unsure.
    """
    digit = int(probabilities.argmax())
    return digit, unsure_below is not None and bool(probabilities[digit] < unsure_below)


def check_images(images: np.ndarray) -> tuple[np.ndarray, bool]:
    """The batch (n, 28, 28) of `images`, and whether a single (28, 28) image came.

    Raises ValueError with what came and what was wanted for anything else than uint8 images.
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
    """Check the names, shapes (None fits any length) and dtypes of a model file's arrays, and that
    their numbers are finite.

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


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]
) -> None:
    """Write arrays and a JSON header as `.safetensors`, so that a crash leaves an old file whole."""
    from safetensors.numpy import save

    content = save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()},
        metadata={"digits": json.dumps(header)},
    )
    write_safely(path, content)


def write_safely(path: str | os.PathLike[str], content: bytes) -> None:
    """Write beside the target, flush to the disk, rename: the old file or the new one, never half."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; a model file is as readable as any other that the user writes.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the JSON header of a file that `write_arrays` wrote; ModelFileError if it is none."""
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    if not file.is_file():
        raise ModelFileError(f"there is no model file {path}.")
    try:
        with safe_open(file, framework="numpy") as content:
            metadata = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 -- it is no dict
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{path} is damaged or is not a model file ({error}).") from error
    try:
        header = json.loads(metadata["digits"])
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"{path} is not a model file of this project: it lacks our header.") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path} is damaged: its header is not a JSON object.")
    return arrays, header


def find_model(kind: str) -> Path:
    """Where the model of a kind lies: the user's own in `trained/`, else the one in `models/`.

    The path is returned also where neither exists (then in `trained/`), for `load` to say so.
    """
    own = ROOT / "trained" / f"{kind}.safetensors"
    shipped = ROOT / "models" / f"{kind}.safetensors"
    return shipped if shipped.is_file() and not own.is_file() else own


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of the given packages, for `trained_on` and a run's record."""
    from importlib.metadata import version

    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
