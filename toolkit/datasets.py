"""The image data sets, and how each is divided into splits.

    python -m toolkit.datasets [--data DIR]       # say where MNIST is, and download it if it is nowhere

MNIST is looked for in `--data DIR`, `$MNIST_DIR` and `./data`. If it is in none of them, it is downloaded to
`./data`.

The splits are the same for every model. MNIST's are train (54,000 images), validation (6,000) and test
(10,000); "all" is train and validation together, for a final model.

To add a data set, write a function that reads it and give it an entry in `DATASETS`.
"""

from __future__ import annotations

import argparse
import gzip
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit import commandline
from toolkit.files import InputError

import numpy as np

SPLITS = ("train", "validation", "test", "all")
DEFAULT = "mnist"  # the data set of the shipped models
SPLIT_SEED = 28  # draws the images that are held out
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}


@dataclass(frozen=True)
class ImageSet:
    """Labelled images.

    Attributes
    ----------
    images : uint8 (n, 28, 28), 0 paper, 255 ink.
    labels : int64 (n,), 0 to 9.
    name : where they come from, such as "mnist/train".
    """

    images: np.ndarray
    labels: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes
    ----------
    help : what `--dataset` says about it.
    read : called as `read(part, data)`. `part` is "train" or "test", `data` is the folder from `--data` or
        None. Returns images, uint8 (n, 28, 28), and labels, int64 (n,).
    validation : how many images of the training part are held out for validation.
    test : how many are held out for the test, if the set has no test part of its own; `part` may then be
        ignored.
    """

    help: str
    read: Callable[[str, str | os.PathLike[str] | None], tuple[np.ndarray, np.ndarray]]
    validation: int
    test: int = 0


def load(
    split: str,
    *,
    dataset: str = DEFAULT,
    data: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> ImageSet:
    """Load one split of a data set.

    Parameters
    ----------
    split : "train", "validation", "test" or "all" (train and validation together).
    dataset : a name in `DATASETS`.
    data : the folder that holds the files; by default the places named at the top of this module.
    limit : take only the first `limit` images, in proportion to the classes; all if there are fewer.

    Raises
    ------
    InputError : the data set is unknown, cannot be found or is damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"wanted a split out of {SPLITS}; got {split!r}.")
    if dataset not in DATASETS:
        raise InputError(f"wanted the data set {' or '.join(DATASETS)}; got {dataset!r}.")
    entry = DATASETS[dataset]
    images, labels = entry.read("test" if split == "test" else "train", data)
    if entry.test:
        held_out = stratified(labels, entry.test, np.random.default_rng(SPLIT_SEED))
        part = held_out if split == "test" else ~held_out
        images, labels = images[part], labels[part]
    if split in ("train", "validation"):
        held_out = stratified(labels, entry.validation, np.random.default_rng(SPLIT_SEED))
        part = held_out if split == "validation" else ~held_out
        images, labels = images[part], labels[part]
    if limit is not None and limit < len(labels):
        part = stratified(labels, limit, None)
        images, labels = images[part], labels[part]
    return ImageSet(images, labels, f"{dataset}/{split}")


def stratified(labels: np.ndarray, count: int, rng: np.random.Generator | None) -> np.ndarray:
    """Return a mask that takes `count` labels, each class in proportion.

    They are chosen at random, or are the first ones if there is no `rng`.
    """
    mask = np.zeros(len(labels), dtype=bool)
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (count / len(labels))
    wanted = np.floor(exact).astype(int)
    # The classes with the largest remainders get one more, so that the total is exactly `count`.
    for index in np.argsort(wanted - exact, kind="stable")[: count - wanted.sum()]:
        wanted[index] += 1
    for label, number in zip(classes, wanted, strict=True):
        members = np.flatnonzero(labels == label)
        mask[members[:number] if rng is None else rng.choice(members, number, replace=False)] = True
    return mask


def find_mnist(data: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder with MNIST's four files, and download them if they are nowhere.

    If `data` is given, only that folder is searched (and downloaded to). Otherwise `$MNIST_DIR` is searched,
    then `./data`. Raises InputError if MNIST is in none of them and cannot be downloaded.
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
    print(f"MNIST is not in {tried}: downloading it into {places[-1]} ...", flush=True)
    why = _download(places[-1])
    if not why:
        return places[-1] / "MNIST" / "raw"
    raise InputError(
        f"MNIST was found in none of --data DIR, $MNIST_DIR and ./data (looked in {tried}), and the download "
        f"failed ({why}); name its folder with --data, or take the bundled digits with --dataset digits."
    )


def _download(folder: Path) -> str:
    """Download MNIST with torchvision; return why that failed, or an empty string."""
    try:
        from torchvision.datasets import MNIST

        MNIST(root=str(folder), download=True)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def _read_mnist(part: str, data: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    folder = find_mnist(data)
    image_file, label_file, count = MNIST_FILES[part]
    images = _read_idx(folder / image_file, (count, 28, 28))
    labels = _read_idx(folder / label_file, (count,))
    if labels.max() > 9:
        raise InputError(
            f"{folder / label_file} is damaged (labels above 9); delete it to download it again."
        )
    return images, labels.astype(np.int64)


def _read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a file in the IDX format: two zero bytes, 8 for uint8, the rank, big-endian sizes, the numbers."""
    header = b"\0\0\x08" + bytes([len(shape)]) + np.array(shape, ">i4").tobytes()
    length = len(header) + int(np.prod(shape))
    try:
        # One byte more than wanted tells a file that is too long, however long it is.
        with open(path, "rb") if path.is_file() else gzip.open(f"{path}.gz") as file:
            content = file.read(length + 1)
        if not content.startswith(header):
            raise ValueError("wrong header")
        if len(content) != length:
            raise ValueError(f"not {length:,} bytes long")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); delete it to download it again.") from error
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)


def _read_digits(part: str, data: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Read scikit-learn's digits, 8 x 8 with values 0 to 16, as 20 x 20 pixels centred by mass in 28 x 28."""
    from PIL import Image
    from scipy import ndimage
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images = np.zeros((len(bundle.target), 28, 28), dtype=np.uint8)
    for image, small in zip(images, bundle.images, strict=True):
        grey = Image.fromarray(np.rint(small * (255 / 16)).astype(np.uint8))
        large = np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC))
        top, left = np.clip(np.rint(13.5 - np.array(ndimage.center_of_mass(large))), 0, 8).astype(int)
        image[top : top + 20, left : left + 20] = large
    return images, bundle.target.astype(np.int64)


DATASETS = {
    "mnist": Dataset("70,000 digits, found or downloaded", _read_mnist, validation=6_000),
    "digits": Dataset(
        "1,797 small digits that come with scikit-learn, no download", _read_digits, validation=143, test=360
    ),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which data, the same for training, testing and sweeps."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        metavar="DIR",
        help="where MNIST lies or is stored (default: $MNIST_DIR, else ./data, else a download)",
    )
    group.add_argument(
        "--dataset",
        choices=tuple(DATASETS),
        default=DEFAULT,
        help="; ".join(f"{name}: {entry.help}" for name, entry in DATASETS.items()),
    )
    group.add_argument(
        "--limit",
        type=commandline.positive_int,
        metavar="N",
        help="only the first N images of each split, stratified",
    )


def model_name(kind: str, dataset: str) -> str:
    """Return the name of the file of a model that is trained on a data set, such as "svm" or "svm-digits"."""
    return kind if dataset == DEFAULT else f"{kind}-{dataset}"


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--data", metavar="DIR", help="the folder that holds MNIST, or that gets it")
    arguments = parser.parse_args(argv)
    for split in SPLITS:
        images = load(split, data=arguments.data)
        print(f"{images.name}: {len(images):,} images")
    print(f"MNIST is in {find_mnist(arguments.data)}")


if __name__ == "__main__":
    commandline.run(main)
