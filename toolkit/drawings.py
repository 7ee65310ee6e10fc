"""Digits that people drew: recorded strokes (`.npz`), and pictures of digits.

`load_drawn` reads either as images that a classifier can be tested on. The sets in `drawings/` come with the
toolkit, and go by their names.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier import ROOT, InputError, write_safely
from toolkit.datasets import ImageSet
from toolkit.framing import frame_picture, frame_strokes

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

ARRAYS = {  # of a file: the shape of one item, and the kinds of its type
    "points": ((2,), "iuf"),
    "stroke_offsets": ((), "iu"),
    "digit_offsets": ((), "iu"),
    "labels": ((), "iu"),
    "writers": ((), "iuU"),
    "is_test": ((), "b"),
    "images": ((28, 28), "u"),
    "times": ((), "iu"),
    "said": ((), "U"),
}
OPTIONAL = ("is_test", "images", "times", "said")
PARTS = ("train", "validation", "test")
HELP = "an .npz of strokes, a folder of pictures named LABEL_anything.png, or pendigits, which is shipped"
MOST_BYTES = 2**28  # of all arrays of a set: more than 200,000 drawings
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow starts Ghostscript to read EPS
MOST_MEGAPIXELS = 40
LOCK_TIMEOUT = 10  # seconds
LARGE = 2_000  # pixels: a longer picture is shrunk while it is read
FRAMED = "digit-framed"  # PNG text of an exported image


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
    said : text (n,), what classifiers read in it, as JSON such as {"SVM": 7}; or None.
    """

    strokes: list[list[np.ndarray]]
    labels: np.ndarray
    writers: np.ndarray
    is_test: np.ndarray | None = None
    images: np.ndarray | None = None
    times: np.ndarray | None = None
    said: np.ndarray | None = None

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


def in_parts(drawings: Drawings, *parts: str) -> Drawings:
    """Return the drawings of some `PARTS`; all of a set that has no `is_test`.

    Writers are divided, not drawings. Of those outside the test part every fifth validates, the last one
    first: of the 30 in `pendigits` 5, 10, 15, 20, 25 and 30.
    """
    if drawings.is_test is None:
        return drawings
    validating = np.isin(drawings.writers, np.unique(drawings.writers[~drawings.is_test])[::-5])
    masks = {"test": drawings.is_test, "validation": ~drawings.is_test & validating}
    masks["train"] = ~drawings.is_test & ~validating
    return select(drawings, np.any([masks[part] for part in parts], axis=0))


def find(name: str | os.PathLike[str]) -> Path:
    """Return the path of a set: `name` itself if it is one, else that of the shipped `drawings/NAME.npz`."""
    shipped = ROOT / "drawings" / f"{name}.npz"
    return shipped if shipped.is_file() and not os.path.exists(name) else Path(name)


def load(name: str | os.PathLike[str], *parts: str) -> Drawings:
    """Load parts of a set of drawings: an `.npz` of strokes, or a folder of pictures.

    Parameters
    ----------
    name : the file, a folder of pictures named LABEL_anything.png, or the name of a set in `drawings/`.
    parts : any of `PARTS`, as in `in_parts`; none for all.

    Raises
    ------
    InputError : there is nothing, or no drawings in these parts.
    """
    place = find(name)
    drawings = load_pictures(place) if place.is_dir() else load_drawings(place)
    if parts:
        drawings = in_parts(drawings, *parts)
    if not len(drawings):
        where = f" in its {' or '.join(parts)} part" if parts and drawings.is_test is not None else ""
        raise InputError(f"{name} holds no drawings{where}.")
    return drawings


def load_drawn(name: str | os.PathLike[str], *parts: str) -> ImageSet:
    """Load parts of a set of drawings as framed images. Arguments and errors are those of `load`."""
    drawings = load(name, *parts)
    return ImageSet(framed(drawings), drawings.labels, find(name).name)


def framed(drawings: Drawings, frame: Callable[[int], np.ndarray] | None = None) -> np.ndarray:
    """Return the images of drawings, uint8 (n, 28, 28); a picture has no strokes, only its image.

    `frame` makes the image of the drawing with a number; by default `frame_strokes` does.
    """
    strokes = drawings.strokes
    frame = frame or (lambda number: frame_strokes(strokes[number]))
    return np.stack(
        [
            frame(number) if drawings.images is None or strokes[number] else drawings.images[number]
            for number in range(len(drawings))
        ]
    )


# Recorded strokes


def load_drawings(path: str | os.PathLike[str]) -> Drawings:
    """Load recorded drawings from an `.npz` file.

    Its arrays are `points` (p, 2), `stroke_offsets` (s + 1,), `digit_offsets` (n + 1,), `labels` (n,),
    `writers` (n,), and optionally `is_test` (n,), `images` (n, 28, 28), `times` (n,) and `said` (n,). The
    points of stroke s are `points[stroke_offsets[s]:stroke_offsets[s + 1]]`; the strokes of digit d follow
    from `digit_offsets` in the same way.

    Raises InputError if the file is missing, damaged, too large or of another kind.
    """
    reading = _reading(path, "damaged or holds no recorded drawings")
    with reading, open(path, "rb") as file, np.load(file) as archive:
        total = sum(member.file_size for member in archive.zip.infolist())  # zipfile never reads more
        if total > MOST_BYTES:
            raise InputError(f"{path} is too large: its arrays take {total / 1e6:,.0f} MB.")
        arrays = {name: np.asarray(archive[name]) for name in ARRAYS if name in archive}
    missing = [name for name in ARRAYS if name not in arrays and name not in OPTIONAL]
    if missing:
        raise InputError(f"{path} holds no recorded drawings: it lacks {', '.join(missing)}.")
    if not _fit_one_another(arrays):
        raise InputError(f"{path} is damaged: its arrays do not fit one another.")
    *strokes, _ = np.split(arrays["points"], arrays["stroke_offsets"][1:])
    return Drawings(
        strokes=[strokes[first:last] for first, last in itertools.pairwise(arrays["digit_offsets"])],
        labels=arrays["labels"].astype(np.int64),
        writers=arrays["writers"],
        **{name: arrays.get(name) for name in OPTIONAL},
    )


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str], otherwise: str) -> Iterator[None]:
    """Raise InputError unless there is a file, and for anything that its reader trips over."""
    if not os.path.exists(path):
        raise InputError(f"there is no file {path}.")
    if not os.path.isfile(path):  # opening a named pipe would wait for ever
        raise InputError(f"{path} is not a file.")
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is {otherwise} ({str(error) or type(error).__name__}).") from error


def _fit_one_another(arrays: dict[str, np.ndarray]) -> bool:
    """Say whether the arrays of a set have the right types, and shapes that belong together."""
    for name, array in arrays.items():
        shape, kinds = ARRAYS[name]
        if array.ndim == 0 or array.shape[1:] != shape or array.dtype.kind not in kinds:
            return False
    labels = arrays["labels"]
    return (
        _are_offsets(arrays["stroke_offsets"], len(arrays["points"]))
        and _are_offsets(arrays["digit_offsets"], len(arrays["stroke_offsets"]) - 1)
        and len(arrays["digit_offsets"]) == len(labels) + 1
        and bool(((labels >= 0) & (labels <= 9)).all())
        and all(len(arrays[name]) == len(labels) for name in ("writers", *OPTIONAL) if name in arrays)
        and arrays.get("images", np.zeros(0, np.uint8)).dtype == np.uint8
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
        "said": drawings.said,
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
    try:
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=LOCK_TIMEOUT):
            yield
    except Timeout:
        raise InputError(f"{path} is in use by another program.") from None


# Sets that grow


def load_set(path: Path) -> Drawings:
    """Load a set that drawings can be added to; an empty set if there is no file yet.

    Raises InputError for a file of another kind, and for a data set that is divided into parts.
    """
    if not path.exists():
        return complete(Drawings([], np.zeros(0, dtype=np.int64), np.zeros(0, dtype=str)))
    drawings = load_drawings(path)
    if drawings.is_test is not None:
        raise InputError(f"{path} is divided into parts for validation and test; take another file.")
    return complete(drawings)


def complete(drawings: Drawings) -> Drawings:
    """Return the drawings with all that a captured set has: images, times (0 if unknown), writers as text."""
    count, images = len(drawings), drawings.images
    if images is None:
        framed = [frame_strokes(strokes) for strokes in drawings.strokes]
        images = np.array(framed, dtype=np.uint8).reshape(count, 28, 28)
    times = np.zeros(count, dtype=np.int64) if drawings.times is None else drawings.times
    return replace(drawings, writers=drawings.writers.astype(str), is_test=None, images=images, times=times)


def joined(sets: Sequence[Drawings]) -> Drawings:
    """Return the drawings of several complete sets, one set after the other."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(drawings, name) for drawings in sets])
        for name in ("labels", "writers", "images", "times")
    }
    if any(drawings.said is not None for drawings in sets):
        said = [[""] * len(own) if own.said is None else own.said.tolist() for own in sets]
        arrays["said"] = np.array([text for texts in said for text in texts], dtype=str)
    return Drawings([strokes for drawings in sets for strokes in drawings.strokes], **arrays)


def add(path: Path, drawings: Drawings, *, again: bool = False) -> Drawings:
    """Add drawings to a set, whatever other programs add meanwhile; return what it holds then.

    With `again`, they replace those with the same strokes.
    Raises OSError or InputError if the file cannot be read or written. Then nothing is added.
    """
    added = complete(drawings)
    with locked(path):
        before = load_set(path)
        new = {_key(strokes) for strokes in added.strokes} if again else set()
        kept = np.array([_key(strokes) not in new for strokes in before.strokes], dtype=bool)
        together = joined([select(before, kept), added])
        save_drawings(path, together)
    return together


def _key(strokes: list[np.ndarray]) -> tuple[bytes, ...]:
    return tuple(np.asarray(stroke, float).tobytes() for stroke in strokes)


# Pictures


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture file as grey, uint8 (height, width), the way up that the camera says it is.

    Transparent parts become white, or black if all that is visible is light. A picture that is longer than
    `LARGE` is averaged to a smaller one.

    Raises InputError if the file is missing, is not a picture or has more than `MOST_MEGAPIXELS`.
    """
    from PIL import Image, ImageOps

    # Pillow warns of oddities that it can cope with.
    with _reading(path, "not a picture that can be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture: Image.Image = Image.open(path, formats=FORMATS)
        with picture:
            megapixels = picture.width * picture.height / 1e6
            if megapixels > MOST_MEGAPIXELS:
                raise InputError(
                    f"{path} has {megapixels:,.0f} megapixels; at most {MOST_MEGAPIXELS} are read."
                )
            picture.draft(None, (LARGE, LARGE))  # a large JPEG is decoded at a half, a quarter or an eighth
            picture.load()
            with contextlib.suppress(Exception):  # damage in what the camera wrote beside the pixels
                ImageOps.exif_transpose(picture, in_place=True)
            picture = _grey(picture)
        return np.asarray(picture.reduce(max(1, max(picture.size) // LARGE)))


def _grey(picture: Image.Image) -> Image.Image:
    """Convert a picture to grey, on white paper, or on black paper if all that is visible is light."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion cuts off at 255
        return Image.fromarray(np.clip(np.asarray(picture) // 257, 0, 255).astype(np.uint8))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("L")
    grey, opaque = picture.convert("RGBA").convert("LA").split()
    light = np.asarray(grey)[np.asarray(opaque) > 127].min(initial=255) > 127
    paper = Image.new("L", picture.size, 0 if light else 255)
    paper.paste(grey, mask=opaque)
    return paper


def _is_framed(path: Path) -> bool:
    """Say whether a picture is an exported image, which must not be framed again."""
    from PIL import Image

    with Image.open(path, formats=FORMATS) as picture:
        return picture.info.get(FRAMED) == "yes" and picture.size == (28, 28)


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
            picture = read_picture(file)
        except (InputError, OSError) as caught:
            print(f"Left out: {caught}", file=sys.stderr)
            error = caught
            continue
        found.append((picture if _is_framed(file) else frame_picture(picture), int(match[1]), match[2]))
    if not found:
        if error is not None:
            raise InputError(f"{folder} holds no picture that can be read: {error}")
        raise InputError(f"{folder} holds no pictures named LABEL_anything.png, such as 7_me.png.")
    images, labels, writers = (np.array(column) for column in zip(*found, strict=True))
    return Drawings([[] for _ in found], labels.astype(np.int64), writers, images=images)
