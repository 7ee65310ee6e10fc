"""The splits, where MNIST is looked for, and the files of drawings and pictures."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile

from classifier import InputError
from toolkit import datasets
from toolkit.drawings import PARTS, Drawings, load, load_drawings, load_drawn, read_picture, save_drawings

import numpy as np
import pytest
from PIL import Image

STROKES = [
    [np.array([[0.0, 0], [10, 40]])],
    [np.array([[0.0, 0], [30, 0], [10, 40]]), np.array([[5.0, 20], [25, 20]])],
    [],
]


@pytest.fixture
def drawings():
    images = np.zeros((3, 28, 28), np.uint8)
    images[2, 10:20, 13:15] = 200
    return Drawings(STROKES, np.array([1, 7, 1]), np.array(["me", "you", "me"]), images=images)


def fake_mnist(folder, *, compressed: bool = False) -> None:
    """Write MNIST's four files, of the right sizes, with labels in a cycle and nearly blank images."""
    folder.mkdir(parents=True, exist_ok=True)
    for images, labels, count in datasets.MNIST_FILES.values():
        pixels = np.zeros((count, 28, 28), np.uint8)
        pixels[:, 0, 0] = np.arange(count) % 251
        contents = {
            images: struct.pack(">iiii", 0x803, count, 28, 28) + pixels.tobytes(),
            labels: struct.pack(">ii", 0x801, count) + (np.arange(count) % 10).astype(np.uint8).tobytes(),
        }
        for name, content in contents.items():
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
            else:
                (folder / name).write_bytes(content)


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.setattr(datasets, "_download", lambda folder: "no network here")
    monkeypatch.delenv("MNIST_DIR", raising=False)


def test_bundled_digits_are_images_in_disjoint_stratified_splits():
    splits = {name: datasets.load(name, dataset="digits") for name in datasets.SPLITS}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 1294,
        "validation": 143,
        "test": 360,
        "all": 1437,
    }
    for split in splits.values():
        assert split.images.dtype == np.uint8
        assert split.images.shape == (len(split), 28, 28)
        assert split.labels.dtype == np.int64
        assert np.bincount(split.labels, minlength=10).min() >= 0.9 * len(split) / 10 - 1
    together = np.concatenate([splits[name].images for name in ("train", "validation", "test")])
    assert len(np.unique(together.reshape(len(together), -1), axis=0)) > 1790  # a few digits are the same


def test_the_splits_of_mnist(tmp_path, no_download):
    fake_mnist(tmp_path / "MNIST" / "raw")
    splits = {name: datasets.load(name, data=tmp_path) for name in datasets.SPLITS}
    sizes = {"train": 54_000, "validation": 6_000, "test": 10_000, "all": 60_000}
    assert {name: len(split) for name, split in splits.items()} == sizes
    assert splits["train"].name == "mnist/train"
    for split in splits.values():
        assert set(np.bincount(split.labels)) == {len(split) // 10}
    again = datasets.load("validation", data=tmp_path)
    np.testing.assert_array_equal(again.images, splits["validation"].images)


@pytest.mark.parametrize("place", ["MNIST/raw", "raw", "."])
def test_mnist_is_found_in_each_usual_folder_and_compressed(tmp_path, place, no_download, monkeypatch):
    fake_mnist(tmp_path / place, compressed=place == "raw")
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    assert len(datasets.load("test")) == 10_000


def test_the_places_go_in_order(tmp_path, no_download, monkeypatch):
    for name in ("given", "environment", "data"):
        fake_mnist(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert datasets.find_mnist() == datasets.Path("data")
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "environment"))
    assert datasets.find_mnist() == tmp_path / "environment"
    assert datasets.find_mnist(tmp_path / "given") == tmp_path / "given"


def test_where_mnist_is_not_to_be_had_every_way_is_named(tmp_path, no_download, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        datasets.load("train")
    for way in ("--data", "$MNIST_DIR", "./data", "download", "no network here", "--dataset digits"):
        assert way in str(caught.value)


def test_damaged_files_of_mnist_are_named(tmp_path, no_download):
    fake_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[:1000], whole[:-1], b"\0\0\x0d" + whole[3:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="t10k-images-idx3-ubyte is damaged"):
            datasets.load("test", data=tmp_path)


def test_damage_in_compressed_files_of_mnist_is_named(tmp_path, no_download):
    fake_mnist(tmp_path, compressed=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = bytearray(path.read_bytes())
    for place in range(0, 300, 7):
        spoilt = whole.copy()
        spoilt[place] ^= 0xFF
        path.write_bytes(spoilt)
        try:
            images = datasets.load("test", data=tmp_path)
        except InputError as error:
            said = str(error)
            assert "t10k-images-idx3-ubyte is damaged" in said
        else:  # the time in the header means nothing
            assert len(images) == 10_000


def test_a_data_set_is_one_entry(monkeypatch):
    def read(part, data):
        assert data == "somewhere"
        labels = np.arange(200 if part == "train" else 50) % 10
        return np.repeat(labels, 784).reshape(-1, 28, 28).astype(np.uint8), labels

    monkeypatch.setitem(datasets.DATASETS, "whole", datasets.Dataset("no test part", read, 20, test=40))
    monkeypatch.setitem(datasets.DATASETS, "parted", datasets.Dataset("a test part", read, 20))
    for name, sizes in {"whole": (140, 20, 40, 160), "parted": (180, 20, 50, 200)}.items():
        for split, size in zip(datasets.SPLITS, sizes, strict=True):
            images = datasets.load(split, dataset=name, data="somewhere")
            assert len(images) == size
            assert images.name == f"{name}/{split}"
            assert set(np.bincount(images.labels)) == {size // 10}


@pytest.mark.parametrize("limit", [1, 10, 137, 1294, 5000])
def test_a_limit_takes_the_first_images_of_each_class(limit):
    whole = datasets.load("train", dataset="digits")
    part = datasets.load("train", dataset="digits", limit=limit)
    assert len(part) == min(limit, len(whole))
    shares = np.bincount(whole.labels) * (len(part) / len(whole))
    assert np.abs(np.bincount(part.labels, minlength=10) - shares).max() < 1
    for digit in np.unique(part.labels):
        first = whole.images[whole.labels == digit]
        mine = part.images[part.labels == digit]
        np.testing.assert_array_equal(mine, first[: len(mine)])


def test_an_unknown_split_or_data_set_is_refused():
    with pytest.raises(ValueError, match="'train'"):
        datasets.load("fit")
    with pytest.raises(InputError, match="'cifar'"):
        datasets.load("train", dataset="cifar")


def test_drawings_are_read_as_they_were_written(drawings, tmp_path):
    drawings.times = np.array([1, 2, 3])
    drawings.is_test = np.array([False, True, True])
    save_drawings(tmp_path / "set.npz", drawings)
    again = load_drawings(tmp_path / "set.npz")
    for one, other in zip(drawings.strokes, again.strokes, strict=True):
        assert len(one) == len(other)
        for stroke, read in zip(one, other, strict=True):
            np.testing.assert_array_equal(stroke, read)
    for name in ("labels", "writers", "is_test", "images", "times"):
        np.testing.assert_array_equal(getattr(drawings, name), getattr(again, name))
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"]


def test_the_shipped_drawings_go_by_their_name_and_divide_their_writers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = {part: load("pendigits", part) for part in PARTS}
    assert [len(part) for part in parts.values()] == [5995, 1499, 3498]
    writers = [set(part.writers.tolist()) for part in parts.values()]
    assert writers[1] == {5, 10, 15, 20, 25, 30}
    assert writers[2] == set(range(31, 45))
    assert not writers[0] & (writers[1] | writers[2])
    assert len(load("pendigits", "train", "validation")) == 7494
    # A file here goes first.
    save_drawings(tmp_path / "pendigits", Drawings([[np.zeros((1, 2))]], np.array([3]), np.array([1])))
    assert load("pendigits", "test").labels.tolist() == [3]


def test_an_empty_set_of_drawings_can_be_kept(tmp_path):
    save_drawings(tmp_path / "set.npz", Drawings([], np.zeros(0, np.int64), np.zeros(0, "U1")))
    assert len(load_drawings(tmp_path / "set.npz")) == 0
    with pytest.raises(InputError, match="holds no drawings"):
        load_drawn(tmp_path / "set.npz")


def test_drawn_parts_are_chosen(drawings, tmp_path):
    drawings.is_test = np.array([False, True, True])
    save_drawings(tmp_path / "set.npz", drawings)
    assert load_drawn(tmp_path / "set.npz", "test").labels.tolist() == [7, 1]
    assert load_drawn(tmp_path / "set.npz", "validation").labels.tolist() == [1]
    with pytest.raises(InputError, match=r"set\.npz holds no drawings in its train part"):
        load_drawn(tmp_path / "set.npz", "train")
    everything = load_drawn(tmp_path / "set.npz")
    assert everything.labels.tolist() == [1, 7, 1]
    # What has no strokes stands as the image that was kept of it.
    np.testing.assert_array_equal(everything.images[2], drawings.images[2])
    assert everything.images[0].any()


def test_damaged_drawings_are_refused(drawings, tmp_path):
    path = tmp_path / "set.npz"
    save_drawings(path, drawings)
    content = path.read_bytes()
    arrays = dict(np.load(path))
    for spoilt in (b"", content[:50], content[:-30], b"hello"):
        path.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"set\.npz"):
            load_drawings(path)
    for name, value in {
        "digit_offsets": np.array([0, 9, 2, 3]),
        "stroke_offsets": np.array([0, 2]),
        "labels": np.array([1, 7, 11]),
        "writers": np.array(["me"]),
        "points": np.zeros((7, 3)),
        "images": np.zeros((3, 27, 28), np.uint8),
    }.items():
        np.savez(path, **{**arrays, name: value})
        with pytest.raises(InputError, match="do not fit one another"):
            load_drawings(path)
    np.savez(path, points=arrays["points"])
    with pytest.raises(InputError, match="it lacks stroke_offsets, digit_offsets, labels, writers"):
        load_drawings(path)
    np.savez(path, **{**arrays, "writers": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(InputError, match="damaged"):
        load_drawings(path)
    with pytest.raises(InputError, match="there is no file"):
        load_drawings(tmp_path / "none.npz")


def npz_with(path, name: str, content: bytes, size: int | None = None) -> None:
    """Replace one array's file in a set of drawings; `size` is what the archive says of its length."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[f"{name}.npy"] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, held in members.items():
            archive.writestr(member, held)
    if size is not None:
        real = struct.pack("<I", len(content))
        path.write_bytes(path.read_bytes().replace(real, struct.pack("<I", size)))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", np.array(7)),
        ("labels", np.array([1.0, 7.0, 1.0])),
        ("labels", np.array(["1", "7", "1"])),
        ("points", np.array(3.0)),
        ("points", np.full((7, 2), "x")),
        ("points", np.zeros((7, 2), complex)),
        ("stroke_offsets", np.array(0)),
        ("stroke_offsets", np.array([0.0, 2, 5, 7])),
        ("digit_offsets", np.zeros((4, 1), np.int64)),
        ("digit_offsets", np.array([0, 2**63, 2, 3], np.uint64)),
        ("writers", np.array("me")),
        ("writers", np.zeros((3, 2), "U1")),
        ("is_test", np.array(True)),
        ("is_test", np.array([0, 1, 2])),
        ("images", np.array(0, np.uint8)),
        ("images", np.zeros((3, 28), np.uint8)),
        ("images", np.zeros((3, 28, 28), np.int16)),
        ("times", np.array(["now"] * 3)),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(drawings, tmp_path, name, value):
    path = tmp_path / "set.npz"
    save_drawings(path, drawings)
    npz_with(path, name, npy(value))
    with pytest.raises(InputError, match=r"set\.npz is damaged: its arrays do not fit one another"):
        load_drawings(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00" + bytes(100),
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<i8', ",
        b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16,
        b"\x93NUMPY\x01\x00\x20\x00" + b'{"descr": """'.ljust(32),
        npy(np.arange(3))[:-9],
        npy(np.arange(3)).replace(b"(3,)", b"(9,)"),
        npy(np.arange(3)).replace(b"(3,)", b"-3, "),
        npy(np.array([{}, {}, {}], dtype=object)),
    ],
)
def test_damaged_arrays_are_refused(drawings, tmp_path, content):
    path = tmp_path / "set.npz"
    save_drawings(path, drawings)
    npz_with(path, "labels", content)
    with pytest.raises(InputError, match=r"set\.npz is damaged"):
        load_drawings(path)


def test_flipped_bits_give_drawings_or_one_sentence(drawings, tmp_path):
    path = tmp_path / "set.npz"
    save_drawings(path, drawings)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        path.write_bytes(flipped(whole, rng))
        try:
            load_drawings(path)
        except InputError as error:
            said = str(error)
            assert "set.npz" in said


def flipped(whole: bytes, rng: np.random.Generator) -> bytes:
    """Flip three bits."""
    spoilt = bytearray(whole)
    for place in rng.integers(0, len(whole), 3):
        spoilt[place] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def test_a_set_that_declares_to_be_huge_is_refused_before_it_is_read(drawings, tmp_path):
    path = tmp_path / "set.npz"
    save_drawings(path, drawings)
    huge = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 28, 28)}
    np.lib.format.write_array_header_1_0(huge, header)
    npz_with(path, "images", huge.getvalue())
    with pytest.raises(InputError, match=r"set\.npz is damaged"):
        load_drawings(path)
    npz_with(path, "images", huge.getvalue(), size=4 * 10**9)
    with pytest.raises(InputError, match=r"too large: its arrays take 4,000 MB"):
        load_drawings(path)


@pytest.fixture
def pipe(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "1_pipe.png")
    return tmp_path / "1_pipe.png"


def test_a_named_pipe_is_refused(pipe):
    for read in (read_picture, load_drawings):
        with pytest.raises(InputError, match=r"1_pipe\.png is not a file"):
            read(pipe)


def bar(width: int = 40, height: int = 60) -> np.ndarray:
    """Draw a dark bar at the top of a light picture."""
    picture = np.full((height, width), 255, np.uint8)
    picture[: height // 5] = 0
    return picture


def test_a_picture_that_would_start_another_program_is_refused(tmp_path):
    Image.fromarray(bar()).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "1_x.png")
    with pytest.raises(InputError, match=r"1_x\.png is not a picture"):
        read_picture(tmp_path / "1_x.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_common_formats_are_read(tmp_path, suffix):
    Image.fromarray(bar()).save(tmp_path / f"x.{suffix}")
    read = read_picture(tmp_path / f"x.{suffix}")
    assert np.abs(read.astype(int) - bar()).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_photo_is_turned_as_the_camera_was(tmp_path, orientation, suffix):
    upright = np.maximum(bar(), np.linspace(0, 99, 40).astype(np.uint8))
    # How a camera stores the pixels, by the EXIF standard.
    stored = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Pillow 13 turns TIFFs by itself, but uncompressed ones wrongly.
    how = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"x.{suffix}", exif=exif, **how)
    read = read_picture(tmp_path / f"x.{suffix}")
    assert read.shape == (60, 40)
    assert np.abs(read.astype(int) - upright).mean() < 5


def test_damaged_exif_does_not_spoil_a_picture(tmp_path):
    Image.fromarray(bar()).save(tmp_path / "x.png", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), bar())


@pytest.mark.parametrize("side", [6_400, 15_000])
def test_a_picture_with_too_many_pixels_is_refused(tmp_path, side):
    Image.new("1", (side, side)).save(tmp_path / "large.png")
    with pytest.raises(InputError, match=r"large\.png (has 41 megapixels|is not a picture)"):
        read_picture(tmp_path / "large.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_large_picture_is_shrunk(tmp_path, suffix):
    Image.fromarray(bar()).resize((4_000, 6_000)).save(tmp_path / f"large.{suffix}")
    read = read_picture(tmp_path / f"large.{suffix}")
    assert max(read.shape) <= 3_000
    assert read[0, 0] < 5
    assert read[-1, -1] > 250


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_flipped_bits_in_pictures_give_a_picture_or_one_sentence(tmp_path, suffix):
    rng = np.random.default_rng(1)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(bar()).save(path)
    whole = path.read_bytes()
    for _ in range(60):
        path.write_bytes(flipped(whole, rng))
        try:
            assert read_picture(path).dtype == np.uint8
        except InputError as error:
            said = str(error)
            assert path.name in said


def test_a_folder_of_pictures_is_read(tmp_path):
    ink = np.zeros((60, 50), np.uint8)
    ink[10:50, 22:27] = 255
    Image.fromarray(ink).save(tmp_path / "1_light.png")
    Image.fromarray(255 - ink).save(tmp_path / "1_dark.PNG")
    clear = np.zeros((60, 50, 4), np.uint8)
    clear[..., 3] = ink
    Image.fromarray(clear).save(tmp_path / "1_clear.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    read = load_drawn(tmp_path)
    assert read.labels.tolist() == [1, 1, 1]
    for image in read.images[1:]:
        assert np.abs(image.astype(int) - read.images[0]).max() <= 2
    assert read.images[0].any()


def test_a_folder_without_pictures_and_a_broken_picture_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no pictures named LABEL_anything\.png"):
        load_drawn(tmp_path)
    (tmp_path / "3_x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"3_x\.png is not a picture"):
        load_drawn(tmp_path)


def test_a_picture_that_cannot_be_read_is_named_and_left_out(tmp_path, pipe, capsys):
    Image.fromarray(bar()).save(tmp_path / "1_good.png")
    (tmp_path / "3_text.png").write_bytes(b"no picture")
    assert load_drawn(tmp_path).labels.tolist() == [1]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "1_pipe.png is not a file" in errors[0]
    assert "3_text.png is not a picture" in errors[1]
