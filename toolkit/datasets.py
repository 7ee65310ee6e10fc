"""The data: MNIST, scikit-learn's bundled digits, recorded and captured drawings, and the splits.

    python -m toolkit.datasets [--data DIR]       # says where MNIST was found; downloads it where it can

MNIST is looked for in `--data DIR`, `$MNIST_DIR`, `./data`, and is else downloaded into `./data`.
Splits, the same for every model: 54,000 images to fit, 6,000 to choose on (stratified, fixed seed),
10,000 to report on; "all" is the first two together, for a final model.
"""

from __future__ import annotations

import gzip
import itertools
import os
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from classifier import InputError, write_safely
from toolkit import commandline
from toolkit.framing import frame_picture, frame_strokes

SPLITS = ("train", "validation", "test", "all")
SPLIT_SEED = 28  # of the fixed, stratified division into fit and choose
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (n, 28, 28), 0 paper, 255 ink; labels int64 (n,); a name such as "mnist/train"."""

    images: np.ndarray
    labels: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Drawings:
    """Digits as they were drawn.

    strokes : a digit is a list of strokes, a stroke a (k, 2) array, x to the right, y downwards
    labels : int64 (n,), the digit that was asked for
    writers : (n,) numbers or text
    is_test : bool (n,), or None where the set has no such division
    images : uint8 (n, 28, 28), what a classifier saw when it was drawn, or None
    times : int64 (n,), seconds since 1970, or None
    """

    strokes: list[list[np.ndarray]]
    labels: np.ndarray
    writers: np.ndarray
    is_test: np.ndarray | None = None
    images: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def load(
    split: str,
    *,
    dataset: str = "mnist",
    data: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> ImageSet:
    """One split of a data set.

    Parameters
    ----------
    split : "train", "validation", "test" or "all" (train and validation together).
    dataset : "mnist", or "digits" for the 1,797 bundled 8 x 8 digits (1,294, 143 and 360 of them).
    data : the folder that holds MNIST; by default the places that the module's docstring names.
    limit : take only the first so many images, stratified; a larger number takes them all.

    Raises
    ------
    InputError : the data cannot be had, or is damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"wanted a split out of {SPLITS}; got {split!r}.")
    if dataset == "mnist":
        images, labels = _read_mnist("test" if split == "test" else "train", data)
        held_out = 6_000
    elif dataset == "digits":
        images, labels = _bundled_digits()
        reported = _stratified(labels, 360, np.random.default_rng(SPLIT_SEED))
        part = reported if split == "test" else ~reported
        images, labels = images[part], labels[part]
        held_out = 143
    else:
        raise InputError(f"wanted the data set mnist or digits; got {dataset!r}.")
    if split in ("train", "validation"):
        chosen = _stratified(labels, held_out, np.random.default_rng(SPLIT_SEED))
        part = chosen if split == "validation" else ~chosen
        images, labels = images[part], labels[part]
    if limit is not None and limit < len(labels):
        part = _stratified(labels, limit, None)
        images, labels = images[part], labels[part]
    return ImageSet(images, labels, f"{dataset}/{split}")


def _stratified(labels: np.ndarray, count: int, rng: np.random.Generator | None) -> np.ndarray:
    """A mask of `count` of the labels, each class in proportion: the first ones, or random ones."""
    mask = np.zeros(len(labels), dtype=bool)
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (count / len(labels))
    wanted = np.floor(exact).astype(int)
    # Largest remainders get the rest, so that exactly `count` are taken.
    for index in np.argsort(wanted - exact, kind="stable")[: count - wanted.sum()]:
        wanted[index] += 1
    for label, number in zip(classes, wanted, strict=True):
        members = np.flatnonzero(labels == label)
        mask[members[:number] if rng is None else rng.choice(members, number, replace=False)] = True
    return mask


def find_mnist(data: str | os.PathLike[str] | None = None, *, download: bool = True) -> Path:
    """The folder that holds MNIST's four files.

    `data`, where given, is the only place looked in (and downloaded to); else `$MNIST_DIR`, then `./data`.
    Raises InputError where MNIST is in none of them and cannot be downloaded.
    """
    if data is not None:
        places = [Path(data)]
    else:
        places = [Path(os.environ["MNIST_DIR"])] if os.environ.get("MNIST_DIR") else []
        places.append(Path("data"))
    for place in places:
        for folder in (place / "MNIST" / "raw", place / "raw", place):
            names = [name for pair in MNIST_FILES.values() for name in pair[:2]]
            if all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in names):
                return folder
    tried = ", ".join(str(place) for place in places)
    why = "no download was asked for"
    if download:
        print(f"MNIST is not in {tried}: downloading it into {places[-1]} ...", flush=True)
        why = _download(places[-1])
        if not why:
            return places[-1] / "MNIST" / "raw"
    raise InputError(
        f"MNIST was found in none of --data DIR, $MNIST_DIR and ./data (looked in {tried}), and the download "
        f"failed ({why}); give its folder with --data, or take the bundled digits with --dataset digits."
    )


def _download(folder: Path) -> str:
    """Download MNIST with torchvision; why it failed, or an empty text."""
    try:
        from torchvision.datasets import MNIST

        MNIST(root=str(folder), download=True)
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def _read_mnist(part: str, data: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    folder = find_mnist(data)
    image_file, label_file, count = MNIST_FILES[part]
    images = _read_idx(folder / image_file)
    labels = _read_idx(folder / label_file)
    if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
        raise InputError(
            f"MNIST in {folder} is damaged: {image_file} holds {images.shape}, {labels.shape} labels."
        )
    return images, labels.astype(np.int64)


def _read_idx(path: Path) -> np.ndarray:
    """A file in the IDX format: two zero bytes, type 8 (uint8), rank, big-endian sizes, the bytes."""
    try:
        content = path.read_bytes() if path.is_file() else gzip.decompress(Path(f"{path}.gz").read_bytes())
        if content[:3] != b"\0\0\x08":
            raise ValueError("not an IDX file of bytes")
        rank = content[3]
        shape = np.frombuffer(content, dtype=">i4", count=rank, offset=4)
        return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, and it is downloaded again.") from error


def _bundled_digits() -> tuple[np.ndarray, np.ndarray]:
    """The bundled digits, 8 x 8 with 0 to 16, as images: enlarged to 20 x 20, centred by mass."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images = np.zeros((len(bundle.target), 28, 28), dtype=np.uint8)
    for image, small in zip(images, bundle.images, strict=True):
        grey = Image.fromarray(np.rint(small * (255 / 16)).astype(np.uint8))
        large = np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC), dtype=np.float64)
        place = np.arange(20) + 0.5
        x, y = (large.sum(axis=0) * place).sum(), (large.sum(axis=1) * place).sum()
        left, top = (int(np.clip(np.rint(14 - c / large.sum()), 0, 8)) for c in (x, y))
        image[top : top + 20, left : left + 20] = large
    return images, bundle.target.astype(np.int64)


def load_drawings(path: str | os.PathLike[str]) -> Drawings:
    """Recorded drawings from an `.npz` file.

    The file's arrays: `points` (p, 2), `stroke_offsets` (s + 1,), `digit_offsets` (n + 1,), `labels` (n,),
    `writers` (n,), and where there are such `is_test` (n,), `images` (n, 28, 28), `times` (n,). Stroke s is
    `points[stroke_offsets[s]:stroke_offsets[s + 1]]`, digit d the strokes `digit_offsets[d]` and following.
    Raises InputError for a file that is missing, damaged or another.
    """
    try:
        # NumPy leaves a damaged file open that it opened itself.
        with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"there is no file {path}.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged or holds no recorded drawings ({error}).") from error
    needed = ("points", "stroke_offsets", "digit_offsets", "labels", "writers")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise InputError(f"{path} holds no recorded drawings: it lacks {', '.join(missing)}.")
    points, stroke_offsets, digit_offsets = (arrays[name] for name in needed[:3])
    labels = arrays["labels"]
    count = len(labels)
    sound = (
        points.ndim == 2
        and points.shape[1] == 2
        and _are_offsets(stroke_offsets, len(points))
        and _are_offsets(digit_offsets, len(stroke_offsets) - 1)
        and len(digit_offsets) == count + 1
        and np.issubdtype(labels.dtype, np.integer)
        and (count == 0 or (labels.min() >= 0 and labels.max() <= 9))
        and all(
            len(arrays[name]) == count for name in ("writers", "is_test", "images", "times") if name in arrays
        )
        and (
            "images" not in arrays
            or (arrays["images"].shape[1:] == (28, 28) and arrays["images"].dtype == np.uint8)
        )
    )
    if not sound:
        raise InputError(f"{path} is damaged: its arrays do not fit one another.")
    all_strokes = np.split(points, stroke_offsets[1:-1]) if len(stroke_offsets) > 1 else []
    return Drawings(
        strokes=[all_strokes[a:b] for a, b in itertools.pairwise(digit_offsets)],
        labels=labels.astype(np.int64),
        writers=arrays["writers"],
        is_test=arrays.get("is_test"),
        images=arrays.get("images"),
        times=arrays.get("times"),
    )


def _are_offsets(offsets: np.ndarray, last: int) -> bool:
    return bool(
        offsets.ndim == 1
        and len(offsets) > 0
        and np.issubdtype(offsets.dtype, np.integer)
        and offsets[0] == 0
        and offsets[-1] == last
        and (np.diff(offsets) >= 0).all()
    )


def save_drawings(path: str | os.PathLike[str], drawings: Drawings) -> None:
    """Write recorded drawings in the format that `load_drawings` reads, whole or not at all."""
    import io

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


def select(drawings: Drawings, mask: np.ndarray) -> Drawings:
    """The drawings where the mask, bool (n,), is True."""
    arrays = {
        name: value[mask]
        for name in ("labels", "writers", "is_test", "images", "times")
        if (value := getattr(drawings, name)) is not None
    }
    strokes = [digit for digit, taken in zip(drawings.strokes, mask, strict=True) if taken]
    return replace(drawings, strokes=strokes, **arrays)


def load_drawn(path: str | os.PathLike[str], *, part: str = "test") -> ImageSet:
    """Drawings as framed images: an `.npz` of strokes, or a folder of pictures `LABEL_anything.png`.

    Parameters
    ----------
    part : "test", "validation" or "all" of an `.npz` that has `is_test`; other sets are taken whole.

    Raises
    ------
    InputError : nothing there, or not drawings.
    """
    place = Path(path)
    if place.is_dir():
        return _load_pictures(place)
    drawings = load_drawings(place)
    if drawings.is_test is not None and part != "all":
        drawings = select(drawings, drawings.is_test if part == "test" else ~drawings.is_test)
    if not len(drawings):
        raise InputError(f"{path} holds no drawings.")
    images = np.stack([frame_strokes(digit) for digit in drawings.strokes])
    if drawings.images is not None:
        # A picture that came from elsewhere has no strokes: it stands as the image that was kept of it.
        for index, digit in enumerate(drawings.strokes):
            if not digit:
                images[index] = drawings.images[index]
    return ImageSet(images, drawings.labels, place.name)


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """A picture file as grey, uint8 (height, width).

    Transparent parts are white, or black where all that is visible is light.

    Raises InputError for a file that is missing or is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion cuts off at 255
                return np.clip(np.asarray(picture) // 257, 0, 255).astype(np.uint8)
            if "A" in picture.getbands() or "transparency" in picture.info:
                both = np.asarray(picture.convert("RGBA").convert("LA"), dtype=np.float32)
                grey, opaque = both[..., 0], both[..., 1]
                paper = 0 if grey[opaque > 127].min(initial=255) > 127 else 255
                return np.rint(paper + (grey - paper) * (opaque / 255)).astype(np.uint8)
            return np.asarray(picture.convert("L"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}.") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} is not a picture that can be read ({error}).") from error


def _load_pictures(folder: Path) -> ImageSet:
    files = sorted(file for file in folder.iterdir() if re.fullmatch(r"\d_.*\.png", file.name, re.IGNORECASE))
    if not files:
        raise InputError(f"{folder} holds no pictures named LABEL_anything.png, such as 7_me.png.")
    images = np.stack([frame_picture(read_picture(file)) for file in files])
    return ImageSet(images, np.array([int(file.name[0]) for file in files], dtype=np.int64), folder.name)


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--data", metavar="DIR", help="where MNIST lies or is to be stored")
    arguments = parser.parse_args(argv)
    for split in SPLITS:
        images = load(split, data=arguments.data)
        print(f"{images.name}: {len(images):,} images")
    print(f"MNIST lies in {find_mnist(arguments.data, download=False)}")


if __name__ == "__main__":
    commandline.run(main)
