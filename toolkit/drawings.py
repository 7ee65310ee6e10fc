"""Digits that people drew: recorded strokes (`.npz`), and pictures of digits.

`load_drawn` reads either as images that a classifier can be tested on.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from classifier import InputError, write_safely
from toolkit.datasets import ImageSet
from toolkit.framing import frame_picture, frame_strokes

NEEDED = ("points", "stroke_offsets", "digit_offsets", "labels", "writers")
OPTIONAL = ("is_test", "images", "times")
MOST_BYTES = 2**28  # of all arrays of a set: more than 200,000 drawings
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow starts Ghostscript to read EPS
MOST_PIXELS = 40_000_000
LOCK_TIMEOUT = 10  # seconds
LARGE = 2_000  # pixels: a longer picture is shrunk while it is read
FRAMED = "digit-framed"  # PNG text of an exported image, which must not be framed again


@dataclass
class Drawings:
    """Digits as they were drawn.

    Attributes
    ----------
    strokes : for each digit a list of strokes, (k, 2) each: x to the right, y downwards. A picture has none.
    labels : int64 (n,), the digit that was asked for.
    writers : (n,), numbers or text.
    is_test : bool (n,), or None if the set is not divided into validation and test.
    images : uint8 (n, 28, 28), what classifiers saw when it was drawn, or None.
    times : int64 (n,), seconds since 1970, or None.
    """

    strokes: list[list[np.ndarray]]
    labels: np.ndarray
    writers: np.ndarray
    is_test: np.ndarray | None = None
    images: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def select(drawings: Drawings, mask: np.ndarray) -> Drawings:
    """Return the drawings for which the mask, bool (n,), is True."""
    arrays = {
        name: value[mask]
        for name in ("labels", "writers", *OPTIONAL)
        if (value := getattr(drawings, name)) is not None
    }
    strokes = [digit for digit, taken in zip(drawings.strokes, mask, strict=True) if taken]
    return replace(drawings, strokes=strokes, **arrays)


def load_drawn(path: str | os.PathLike[str], *, part: str = "test") -> ImageSet:
    """Load drawings as framed images, from an `.npz` of strokes or a folder of pictures.

    Parameters
    ----------
    path : the file, or a folder of pictures named LABEL_anything.png.
    part : "test", "validation" or "all" of a file that has `is_test`; other sets are taken whole.

    Raises
    ------
    InputError : there is nothing, or no drawings.
    """
    place = Path(path)
    if place.is_dir():
        pictures = load_pictures(place)
        assert pictures.images is not None
        return ImageSet(pictures.images, pictures.labels, place.name)
    drawings = load_drawings(place)
    if drawings.is_test is not None and part != "all":
        drawings = select(drawings, drawings.is_test if part == "test" else ~drawings.is_test)
    if not len(drawings):
        raise InputError(f"{path} holds no drawings.")
    images = np.stack([frame_strokes(digit) for digit in drawings.strokes])
    if drawings.images is not None:
        # A picture has no strokes, only its image.
        pictures_only = np.array([not digit for digit in drawings.strokes])
        images[pictures_only] = drawings.images[pictures_only]
    return ImageSet(images, drawings.labels, place.name)


# Recorded strokes


def load_drawings(path: str | os.PathLike[str]) -> Drawings:
    """Load recorded drawings from an `.npz` file.

    Its arrays are `points` (p, 2), `stroke_offsets` (s + 1,), `digit_offsets` (n + 1,), `labels` (n,),
    `writers` (n,), and optionally `is_test` (n,), `images` (n, 28, 28) and `times` (n,). The points of stroke
    s are `points[stroke_offsets[s]:stroke_offsets[s + 1]]`; the strokes of digit d follow from
    `digit_offsets` in the same way.

    Raises InputError if the file is missing, damaged, too large or of another kind.
    """
    _expect_regular_file(path)
    try:
        arrays = _read_npz(path)
    except InputError:
        raise
    except (
        Exception
    ) as error:  # the readers of zip, of NumPy's headers and of compression raise a dozen kinds
        why = str(error) or type(error).__name__
        raise InputError(f"{path} is damaged or holds no recorded drawings ({why}).") from error
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise InputError(f"{path} holds no recorded drawings: it lacks {', '.join(missing)}.")
    if not _fit_one_another(arrays):
        raise InputError(f"{path} is damaged: its arrays do not fit one another.")
    stroke_offsets, digit_offsets = arrays["stroke_offsets"], arrays["digit_offsets"]
    all_strokes = np.split(arrays["points"], stroke_offsets[1:-1]) if len(stroke_offsets) > 1 else []
    return Drawings(
        strokes=[all_strokes[first:last] for first, last in itertools.pairwise(digit_offsets)],
        labels=arrays["labels"].astype(np.int64),
        writers=arrays["writers"],
        is_test=arrays.get("is_test"),
        images=arrays.get("images"),
        times=arrays.get("times"),
    )


def _expect_regular_file(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless there is a file: opening a named pipe would wait for ever."""
    if not os.path.exists(path):
        raise InputError(f"there is no file {path}.")
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file.")


def _read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a set, after checking how much memory they declare to need."""
    from numpy.lib import format as npy

    arrays = {}
    with zipfile.ZipFile(path) as archive:
        there = set(archive.namelist())
        members = {
            name: archive.getinfo(f"{name}.npy") for name in (*NEEDED, *OPTIONAL) if f"{name}.npy" in there
        }
        total = sum(member.file_size for member in members.values())  # zipfile never reads more than that
        if total > MOST_BYTES:
            raise InputError(f"{path} is too large: its arrays take {total / 1e6:,.0f} MB.")
        for name, member in members.items():
            with archive.open(member) as file:
                read_header = npy.read_array_header_1_0
                if npy.read_magic(file) != (1, 0):
                    read_header = npy.read_array_header_2_0
                shape, _, dtype = read_header(file)
            if math.prod(shape) * dtype.itemsize > member.file_size:  # else NumPy makes room for all of it
                raise ValueError(f"{name} is cut short")
            with archive.open(member) as file:
                arrays[name] = npy.read_array(file, allow_pickle=False)
    return arrays


def _fit_one_another(arrays: dict[str, np.ndarray]) -> bool:
    """Say whether the arrays of a set have the right types, and shapes that belong together."""
    kinds = {
        "points": (2, "iuf"),
        "stroke_offsets": (1, "iu"),
        "digit_offsets": (1, "iu"),
        "labels": (1, "iu"),
        "writers": (1, "iuU"),
        "is_test": (1, "b"),
        "images": (3, "u"),
        "times": (1, "iu"),
    }
    for name, array in arrays.items():
        rank, allowed = kinds[name]
        if array.ndim != rank or array.dtype.kind not in allowed:
            return False
    points, labels = arrays["points"], arrays["labels"]
    stroke_offsets, digit_offsets = arrays["stroke_offsets"], arrays["digit_offsets"]
    return (
        points.shape[1] == 2
        and _are_offsets(stroke_offsets, len(points))
        and _are_offsets(digit_offsets, len(stroke_offsets) - 1)
        and len(digit_offsets) == len(labels) + 1
        and bool(((labels >= 0) & (labels <= 9)).all())
        and all(len(arrays[name]) == len(labels) for name in ("writers", *OPTIONAL) if name in arrays)
        and ("images" not in arrays or arrays["images"].shape[1:] == (28, 28))
        and ("images" not in arrays or arrays["images"].dtype == np.uint8)
    )


def _are_offsets(offsets: np.ndarray, last: int) -> bool:
    return bool(
        len(offsets) and offsets[0] == 0 and offsets[-1] == last and (offsets[1:] >= offsets[:-1]).all()
    )


def save_drawings(path: str | os.PathLike[str], drawings: Drawings) -> None:
    """Write recorded drawings as `load_drawings` reads them, whole or not at all."""
    strokes = [np.asarray(stroke) for digit in drawings.strokes for stroke in digit]
    arrays: dict[str, Any] = {
        "points": np.concatenate(strokes) if strokes else np.zeros((0, 2)),
        "stroke_offsets": np.cumsum([0, *map(len, strokes)], dtype=np.int32),
        "digit_offsets": np.cumsum([0, *map(len, drawings.strokes)], dtype=np.int32),
        "labels": drawings.labels.astype(np.uint8),
        "writers": drawings.writers,
        "is_test": drawings.is_test,
        "images": drawings.images,
        "times": drawings.times,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: array for name, array in arrays.items() if array is not None})
    write_safely(path, buffer.getvalue())


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other programs that use this lock from a file, from before it is read until it is written.

    Raises InputError if another program holds the lock for longer than `LOCK_TIMEOUT`.
    """
    from filelock import FileLock, Timeout

    file = Path(path).resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    try:
        lock.acquire(timeout=LOCK_TIMEOUT)
    except Timeout:
        raise InputError(f"{path} is in use by another program.") from None
    try:
        yield
    finally:
        lock.release()


# Pictures


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture file as grey, uint8 (height, width), the way up that the camera says it is.

    Transparent parts become white, or black if all that is visible is light. A picture that is longer than
    `LARGE` is averaged to a smaller one.

    Raises InputError if the file is missing, is not a picture or has more than `MOST_PIXELS` pixels.
    """
    return _read_picture(path)[0]


def _read_picture(path: str | os.PathLike[str]) -> tuple[np.ndarray, bool]:
    """Read a picture, and whether it is an exported image that is already framed."""
    _expect_regular_file(path)
    try:
        # Pillow warns of oddities that it can cope with; the sizes are checked here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(path)
    except InputError:
        raise
    except Exception as error:  # damage inside a picture surfaces as whatever its decoder trips over
        why = str(error) or type(error).__name__
        raise InputError(f"{path} is not a picture that can be read ({why}).") from error


def _decode(path: str | os.PathLike[str]) -> tuple[np.ndarray, bool]:
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as opened:
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise InputError(
                f"{path} has {width * height / 1e6:,.0f} megapixels; at most {MOST_PIXELS // 10**6} are read."
            )
        framed = opened.info.get(FRAMED) == "yes" and opened.size == (28, 28)
        opened.draft(None, (LARGE, LARGE))  # a large JPEG is decoded at a half, a quarter or an eighth
        opened.load()
        with contextlib.suppress(Exception):  # damage in what the camera wrote beside the pixels
            ImageOps.exif_transpose(opened, in_place=True)
        picture: Image.Image = opened
        transparent = "A" in picture.getbands() or "transparency" in picture.info
        if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion cuts off at 255
            picture = Image.fromarray(np.clip(np.asarray(picture) // 257, 0, 255).astype(np.uint8))
        elif transparent:
            picture = picture.convert("RGBA").convert("LA")
        else:
            picture = picture.convert("L")
        picture = picture.reduce(max(1, max(picture.size) // LARGE))
        if picture.mode == "L":
            return np.asarray(picture), framed
        both = np.asarray(picture, dtype=np.float32)
        grey, opaque = both[..., 0], both[..., 1]
        paper = 0 if grey[opaque > 127].min(initial=255) > 127 else 255
        return np.rint(paper + (grey - paper) * (opaque / 255)).astype(np.uint8), framed


def load_pictures(folder: Path) -> Drawings:
    """Load the pictures of a folder as drawings without strokes.

    They are named LABEL_WRITER_NUMBER.png or LABEL_anything.png. A picture that cannot be read is left out,
    and named on standard error. Raises InputError if none can be read.
    """
    found, error = [], None
    for file in sorted(folder.iterdir()):
        match = re.fullmatch(r"([0-9])_(.*?)(?:_[0-9]+)?\.png", file.name, re.IGNORECASE)
        if match is None:
            continue
        try:
            picture, framed = _read_picture(file)
        except (InputError, OSError) as caught:
            print(f"Left out: {caught}", file=sys.stderr)
            error = caught
            continue
        found.append((picture if framed else frame_picture(picture), int(match[1]), match[2]))
    if not found:
        if error is not None:
            raise InputError(f"{folder} holds no picture that can be read: {error}")
        raise InputError(f"{folder} holds no pictures named LABEL_anything.png, such as 7_me.png.")
    images, labels, writers = (np.array(column) for column in zip(*found, strict=True))
    return Drawings([[] for _ in found], labels.astype(np.int64), writers, images=images)
