"""Damaged recordings, pictures and files of MNIST: each gives images, or one sentence."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import capture
from toolkit import corrections, datasets, drawings, files
from toolkit.framing import frame_picture

import harness
import numpy as np
from harness import Case, damage, damage_array


def check_images(images: np.ndarray, labels: np.ndarray | None = None) -> None:
    assert images.dtype == np.uint8
    assert images.shape[1:] == (28, 28)
    if labels is not None:
        assert labels.dtype == np.int64
        assert len(labels) == len(images)
        assert set(labels.tolist()) <= set(range(10))


def damaged_cases(
    originals: dict[str, bytes],
    folder: Path,
    count: int,
    change: Callable[[bytes, np.random.Generator], bytes],
    read: Callable[[Path], object],
) -> Iterator[Case]:
    """Yield cases that each change one of the originals, in turn, and read it."""
    names = list(originals)

    def case(name: str, number: int) -> Callable[[], str]:
        target = folder / name
        target.write_bytes(change(originals[name], np.random.default_rng(number)))
        return lambda: harness.refuses(files.InputError, lambda: read(target))

    for name in names:
        (folder / name).write_bytes(originals[name])
        read(folder / name)  # what is whole is read
    for number in range(count):
        name = names[number % len(names)]
        yield f"{name} {number}", case(name, number)


# Recordings


def recordings(rng: np.random.Generator) -> dict[str, bytes]:
    """Return small sets: one of a data set with parts, one that capture.py wrote, and corrections."""
    strokes = [[rng.normal(size=(int(rng.integers(1, 9)), 2)) for _ in range(2)] for _ in range(6)]
    labels, writers = np.arange(6), np.array([f"writer{n}" for n in range(6)])
    parts = drawings.Drawings(strokes, labels, np.arange(6), is_test=labels % 2 == 0)
    images = rng.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    captured = drawings.Drawings(strokes, labels, writers, images=images, times=labels)
    said = np.array([f'{{"SVM": {label}, "ANN": 7}}' for label in labels])
    corrected = drawings.Drawings(strokes, labels, writers, times=labels, said=said)
    made = {}
    for name, one in {"parts.npz": parts, "captured.npz": captured, "corrections.npz": corrected}.items():
        drawings.save_drawings(name, one)
        made[name] = Path(name).read_bytes()
    return made


def damage_recording(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage the bytes of a set, one of its arrays, or the header of an array."""
    kind = rng.random()
    if kind < 0.4:
        return damage(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = str(rng.choice(list(members)))
    if kind < 0.6:
        members[name] = damage(members[name], rng)
    elif kind < 0.75:  # a header that asks for much, or for what NumPy must not make
        types: list[Any] = [
            "'<f8'",
            "'|O'",
            "'|S0'",
            "'|V9'",
            "[('a','<i4')]",
            "'<U99999999'",
            "'<M8'",
            "'<c16'",
        ]
        shapes = ["()", "(0,)", "(-1,2)", "(2,2)", f"({10**15},)", f"({2**31},{2**31})", "(1,)*99", "(3.5,)"]
        head = f"{{'descr': {rng.choice(types)}, 'fortran_order': False, 'shape': {rng.choice(shapes)}, }}\n"
        text = head.encode()
        data = members[name][128:]
        members[name] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
    else:
        array = damage_array(np.load(io.BytesIO(members[name])), rng)
        if rng.random() < 0.2 and array.ndim:
            array = np.repeat(array, 10**4, axis=0)  # compresses well
        buffer = io.BytesIO()
        np.save(buffer, array)
        members[name] = buffer.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read_recording(path: Path) -> None:
    """Read a set as test_*.py, the window's counts and capture.py do."""
    drawn = drawings.load_drawn(path)
    check_images(drawn.images, drawn.labels)
    for right, count in corrections.tallies(drawings.load_drawings(path), datetime.fromtimestamp(0)).values():
        assert 0 <= right <= count <= len(drawn)
    try:
        captured = capture.load_set(path)
    except files.InputError:
        return
    assert captured.images is not None
    check_images(captured.images, captured.labels)
    drawings.save_drawings(path, capture.joined([captured, captured]))


def run_recordings(folder: Path, count: int) -> list[str]:
    originals = recordings(np.random.default_rng(0))
    cases = damaged_cases(originals, folder, count, damage_recording, read_recording)
    return harness.run_cases("recordings", cases)


# Pictures


def pictures() -> dict[str, bytes]:
    """Return pictures of a digit, in every format and in the modes that their decoders treat apart."""
    from PIL import Image, ImageDraw

    grey = Image.new("L", (90, 120), 230)
    ImageDraw.Draw(grey).line([(25, 20), (65, 20), (40, 100)], fill=20, width=9)
    clear = Image.new("LA", grey.size)
    clear.putalpha(grey.point(lambda value: 255 - value))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames: dict[str, Any] = {"save_all": True, "append_images": [grey.convert("P")]}
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "grey.png": (grey, {}),
        "deep.png": (deep, {}),
        "palette.png": (grey.quantize(8), {"transparency": 0}),
        "clear.png": (clear, {}),
        "turned.jpg": (grey.convert("RGB"), {"exif": exif, "progressive": True}),
        "print.jpg": (grey.convert("CMYK"), {}),
        "frames.gif": (grey.convert("P"), frames),
        "grey.bmp": (grey, {}),
        "bits.bmp": (grey.convert("1"), {}),
        "colour.tiff": (grey.convert("RGB"), {"compression": "tiff_lzw"}),
        "fax.tiff": (grey.convert("1"), {"compression": "group4"}),
        "float.tiff": (grey.convert("F"), {}),
        "exif.webp": (grey.convert("RGB"), {"exif": exif}),
        "clear.webp": (clear.convert("RGBA"), {"lossless": True}),
    }
    content = {}
    for name, (picture, options) in made.items():
        picture.save(name, **options)
        content[name] = Path(name).read_bytes()
    return content


def read_picture(path: Path) -> None:
    with _libtiff_silent():
        picture = drawings.read_picture(path)
    assert picture.size <= 1e6 * drawings.MOST_MEGAPIXELS
    check_images(frame_picture(picture)[None])


@contextlib.contextmanager
def _libtiff_silent() -> Iterator[None]:
    """Keep what libtiff writes on standard error, past Python, from filling the terminal."""
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(nowhere)
        os.close(standard_error)


def damage_picture(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a picture's bytes; in half of the PNGs with checksums that fit again."""
    changed = damage(content, rng)
    if not content.startswith(b"\x89PNG") or rng.random() < 0.5:
        return changed
    import zlib

    data, at = bytearray(changed), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def run_pictures(folder: Path, count: int) -> list[str]:
    cases = damaged_cases(pictures(), folder, count, damage_picture, read_picture)
    return harness.run_cases("pictures", cases)


# MNIST


def run_mnist(folder: Path, count: int) -> list[str]:
    """Damage small files of the same format: those of the real size take longer to write than to check."""
    datasets.MNIST_FILES = {"test": (*datasets.MNIST_FILES["test"][:2], 20)}
    images, labels, size = datasets.MNIST_FILES["test"]
    rng = np.random.default_rng(0)
    header = b"\0\0\x08\x03" + np.array([size, 28, 28], ">i4").tobytes()
    raw = {
        images: header + rng.integers(0, 256, size * 784, dtype=np.uint8).tobytes(),
        labels: b"\0\0\x08\x01" + np.array([size], ">i4").tobytes() + bytes(n % 10 for n in range(size)),
    }
    originals = {f"{name}{end}": b"" for name in raw for end in ("", ".gz")}
    for name in originals:
        originals[name] = gzip.compress(raw[name[:-3]]) if name.endswith(".gz") else raw[name]

    def read(path: Path) -> None:
        for other in raw:  # a plain file is taken before a packed one
            for place in (folder / other, folder / f"{other}.gz"):
                if place.name.removesuffix(".gz") != path.name.removesuffix(".gz"):
                    place.write_bytes(originals[place.name])
                elif place != path:
                    place.unlink(missing_ok=True)
        check_images(*datasets._read_mnist("test", folder))

    return harness.run_cases("mnist", damaged_cases(originals, folder, count, damage, read))
