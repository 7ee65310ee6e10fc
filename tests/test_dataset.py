"""The splits, where MNIST is looked for, and the formats of drawings."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from classifier import InputError
from toolkit import datasets
from toolkit.datasets import Drawings, load_drawings, load_drawn, save_drawings

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
    """MNIST's four files, of the right sizes, with labels in a cycle and nearly blank images."""
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


def test_an_empty_set_of_drawings_can_be_kept(tmp_path):
    save_drawings(tmp_path / "set.npz", Drawings([], np.zeros(0, np.int64), np.zeros(0, "U1")))
    assert len(load_drawings(tmp_path / "set.npz")) == 0
    with pytest.raises(InputError, match="holds no drawings"):
        load_drawn(tmp_path / "set.npz")


def test_drawn_parts_are_chosen(drawings, tmp_path):
    drawings.is_test = np.array([False, True, True])
    save_drawings(tmp_path / "set.npz", drawings)
    assert load_drawn(tmp_path / "set.npz").labels.tolist() == [7, 1]
    assert load_drawn(tmp_path / "set.npz", part="validation").labels.tolist() == [1]
    everything = load_drawn(tmp_path / "set.npz", part="all")
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
