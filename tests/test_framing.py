"""Framing: the same digit drawn elsewhere, larger, with another pen is the same image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from toolkit.framing import BOX, PEN, frame_picture, frame_strokes

# A 4 of two strokes, in a box of 100.
FOUR = [
    np.array([[40.0, 10], [15, 60], [20, 62], [70, 60]]),
    np.array([[55.0, 20], [54, 50], [50, 95]]),
]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two images as a part of the ink."""
    return float(np.abs(one.astype(float) - other).sum() / one.sum())


def drawn(strokes, side: int, pen: int, scale: float = 1.0, at=(0.0, 0.0), dark_on_light: bool = False):
    """The strokes as a picture of side x side pixels, as a paint program makes it."""
    picture = Image.new("L", (side * 4, side * 4), 0)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [tuple(point) for point in (stroke * scale + at) * 4]
        draw.line(points, fill=255, width=pen * 4, joint="curve")
        for x, y in points:
            draw.ellipse([x - pen * 2, y - pen * 2, x + pen * 2, y + pen * 2], fill=255)
    image = np.asarray(picture.resize((side, side), Image.Resampling.BOX))
    return 255 - image if dark_on_light else image


def test_a_digit_is_framed_as_mnist_frames_it():
    image = frame_strokes(FOUR)
    assert image.dtype == np.uint8
    assert image.shape == (28, 28)
    rows = np.flatnonzero(image.max(axis=1) > 127)
    assert rows[-1] - rows[0] + 1 == pytest.approx(BOX, abs=1)
    place = np.arange(28) + 0.5
    for axis in (0, 1):
        assert (image.sum(axis=axis) @ place) / image.sum() == pytest.approx(14, abs=0.1)


@pytest.mark.parametrize(
    ("factor", "shift"), [(3, (0, 0)), (1, (250, -40)), (0.01, (7, 7)), (1000, (-1e6, 1e6))]
)
def test_place_and_size_do_not_matter(factor, shift):
    moved = [stroke * factor + np.array(shift) for stroke in FOUR]
    assert difference(frame_strokes(FOUR), frame_strokes(moved)) < 0.01


def test_points_between_points_do_not_matter():
    dense = []
    for stroke in FOUR:
        places = np.linspace(0, len(stroke) - 1, 5_000)
        dense.append(
            np.stack([np.interp(places, np.arange(len(stroke)), stroke[:, axis]) for axis in (0, 1)], 1)
        )
    assert difference(frame_strokes(FOUR), frame_strokes(dense)) < 0.02


def test_direction_and_order_of_strokes_do_not_matter():
    turned = [stroke[::-1] for stroke in FOUR[::-1]]
    assert difference(frame_strokes(FOUR), frame_strokes(turned)) < 0.01


@pytest.mark.parametrize("stroke", [[[5.0, 5.0]], [[5.0, 5.0]] * 4])
def test_a_dot_is_a_dot_in_the_middle(stroke):
    image = frame_strokes([np.array(stroke)])
    ink = np.argwhere(image > 0)
    assert 4 <= len(ink) <= 25
    np.testing.assert_allclose(ink.mean(axis=0), 13.5, atol=0.6)


def test_a_line_is_a_line():
    image = frame_strokes([np.array([[0.0, 0], [0, 50]])])
    assert (image.max(axis=1) > 127).sum() == pytest.approx(BOX, abs=1)
    assert image.sum() / 255 == pytest.approx(BOX * PEN, rel=0.1)


@pytest.mark.parametrize("strokes", [[], [np.zeros((0, 2))], [np.array([[np.nan, 1.0]])]])
def test_nothing_drawn_is_blank_paper(strokes):
    assert not frame_strokes(strokes).any()


def test_points_that_are_no_numbers_are_left_out():
    spoilt = [np.insert(stroke, 1, [np.nan, 3.0], axis=0) for stroke in FOUR]
    np.testing.assert_array_equal(frame_strokes(spoilt), frame_strokes(FOUR))


def test_ten_thousand_points_are_framed():
    rng = np.random.default_rng(0)
    image = frame_strokes([rng.normal(size=(10_000, 2)).cumsum(axis=0)])
    assert image.max() == 255


def test_strokes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"wanted strokes of shape \(k, 2\); got \(3, 3\)"):
        frame_strokes([np.zeros((3, 3))])


@pytest.mark.parametrize(
    "picture",
    [
        drawn(FOUR, 100, 8),
        drawn(FOUR, 100, 8, dark_on_light=True),
        drawn(FOUR, 300, 24, scale=3),
        drawn(FOUR, 300, 12, scale=1.5, at=(120, 20)),
        drawn(FOUR, 200, 4),
        drawn(FOUR, 100, 12),
        drawn(FOUR, 1000, 60, scale=9),
    ],
)
def test_size_place_pen_and_polarity_of_a_picture_do_not_matter(picture):
    assert difference(frame_strokes(FOUR), frame_picture(picture)) < 0.15


def test_a_small_thick_picture_is_read_as_the_same_digit():
    small = drawn(FOUR, 28, 3, scale=0.16, at=(3, 8))
    assert difference(frame_strokes(FOUR), frame_picture(small)) < 0.45


def test_grey_paper_uneven_ink_and_dust_do_not_matter():
    rng = np.random.default_rng(0)
    clean = drawn(FOUR, 150, 10, at=(20, 20)).astype(float)
    dusty = clean.copy()
    dusty[140:143, 5:8] = 255
    photographed = 190 - dusty * 0.5 + rng.normal(0, 4, clean.shape)
    photographed = np.clip(photographed, 0, 255).astype(np.uint8)
    assert difference(frame_picture(clean.astype(np.uint8)), frame_picture(photographed)) < 0.15


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_ink_is_blank(level):
    assert not frame_picture(np.full((40, 30), level, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (28, 28), (3, 200)])
def test_any_picture_is_framed(shape):
    rng = np.random.default_rng(1)
    for picture in (rng.integers(0, 256, shape, dtype=np.uint8), np.eye(*shape, dtype=np.uint8) * 255):
        image = frame_picture(picture)
        assert image.shape == (28, 28)
        assert image.dtype == np.uint8


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 3), np.uint8), None]
)
def test_what_is_no_grey_picture_is_refused(picture):
    with pytest.raises(ValueError, match="wanted a picture, uint8"):
        frame_picture(picture)
