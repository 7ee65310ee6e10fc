"""Framing: the same digit drawn elsewhere, larger, with another pen is the same image."""

from __future__ import annotations

from toolkit.framing import BOX, PEN, frame_picture, frame_strokes

import numpy as np
import pytest
from PIL import Image, ImageDraw

# A 4 of two strokes, in a box of 100.
FOUR = [
    np.array([[40.0, 10], [15, 60], [20, 62], [70, 60]]),
    np.array([[55.0, 20], [54, 50], [50, 95]]),
]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference of two images, relative to the ink."""
    return float(np.abs(one.astype(float) - other).sum() / one.sum())


def drawn(strokes, side: int, pen: int, scale: float = 1.0, at=(0.0, 0.0), dark_on_light: bool = False):
    """Draw the strokes as a paint program does, on side x side pixels."""
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


SEVEN = [np.array([[10.0, 12], [42, 10], [88, 12], [70, 40], [50, 66], [38, 95]])]


def line_drawing(strokes, height: int, pen: int, smooth: bool) -> np.ndarray:
    """Draw the strokes as thin lines in a large picture; smooth lines have grey edges."""
    fine = 4 if smooth else 1
    picture = Image.new("L", (height * 9 // 10 * fine, height * fine), 255)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [tuple(point) for point in stroke * (0.008 * height * fine) + height * fine / 10]
        draw.line(points, fill=0, width=pen * fine, joint="curve")
    return np.asarray(picture.reduce(fine))


@pytest.mark.parametrize("pen", range(1, 9))
@pytest.mark.parametrize("height", [200, 330, 600, 1000, 1800])
def test_thin_lines_survive_shrinking(height, pen):
    """A line of 1 pixel used to vanish from pictures 600 pixels high, and its fragments were read as a 1."""
    for strokes in (SEVEN, FOUR):
        for smooth in (False, True) if height <= 600 else (False,):
            picture = line_drawing(strokes, height, pen, smooth)
            assert difference(frame_strokes(strokes), frame_picture(picture)) < 0.25


@pytest.mark.parametrize("pen", [1, 4, 8])
def test_thin_lines_survive_in_a_very_large_picture(pen):
    assert difference(frame_strokes(SEVEN), frame_picture(line_drawing(SEVEN, 4000, pen, False))) < 0.15


def test_thin_and_thick_lines_in_one_picture():
    picture = np.minimum(
        line_drawing(FOUR[:1], 1500, 2, False),
        line_drawing(FOUR[1:], 1500, 30, False),
    )
    assert difference(frame_strokes(FOUR), frame_picture(picture)) < 0.25


def test_faint_lines_beside_a_speck_are_framed():
    picture = np.zeros((80, 80), np.uint8)
    picture[10:70, 40:42] = 115
    picture[5, 5] = 255
    image = frame_picture(picture)
    assert (image.max(axis=1) > 127).sum() == pytest.approx(BOX, abs=2)


def on_paper(ink: np.ndarray, light: np.ndarray | float, seed: int = 0) -> np.ndarray:
    """Photograph ink (0 to 255) on paper in some light (0 to 255), with the grain of a camera."""
    grain = np.random.default_rng(seed).normal(0, 3, ink.shape)
    return np.clip(light * (1 - 0.87 * ink / 255.0) + grain, 0, 255).astype(np.uint8)


PHOTO = drawn(FOUR, 300, 14, scale=1.6, at=(70, 60))


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0, 3.5, 5.0])
@pytest.mark.parametrize("edge", [0.5, 15.0])
@pytest.mark.parametrize("dark", [0.4, 0.6])
def test_a_shadow_does_not_matter(angle, edge, dark):
    y, x = np.mgrid[:300, :300] - 150.0
    into = (x * np.cos(angle) + y * np.sin(angle) - 20) / edge
    shadow = 1 - (1 - dark) / (1 + np.exp(-np.clip(into, -50, 50)))
    assert difference(frame_strokes(FOUR), frame_picture(on_paper(PHOTO, 230 * shadow))) < 0.2


def test_light_that_falls_off_does_not_matter():
    light = 220 * np.linspace(1, 0.35, 300)
    assert difference(frame_strokes(FOUR), frame_picture(on_paper(PHOTO, light))) < 0.2


@pytest.mark.parametrize("sides", ["all", "left", "left and bottom"])
@pytest.mark.parametrize("slant", [0, 1.5])
def test_a_black_frame_is_not_ink(sides, slant):
    photo = on_paper(PHOTO, 230)
    if sides == "all":
        photo = np.pad(photo, ((20, 12), (30, 15)), constant_values=10)
    else:
        photo[:, :25] = 10
    if "bottom" in sides:
        photo[-18:] = 10
    if slant:
        photo = np.asarray(Image.fromarray(photo).rotate(slant, Image.Resampling.BILINEAR, fillcolor=10))
    assert difference(frame_strokes(FOUR), frame_picture(photo)) < 0.25


def test_a_round_digit_that_fills_the_picture_is_not_a_frame():
    picture = Image.new("L", (120, 150), 0)
    ImageDraw.Draw(picture).ellipse([2, 2, 117, 147], outline=255, width=24)
    image = frame_picture(np.asarray(picture))
    assert image[14, 14] == 0
    assert (image.max(axis=1) > 127).sum() == pytest.approx(BOX, abs=1)


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
