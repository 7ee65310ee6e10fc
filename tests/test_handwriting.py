"""Variants of drawings: the same digit, written by another hand."""

from __future__ import annotations

from toolkit import handwriting
from toolkit.drawings import Drawings, framed, load, select
from toolkit.framing import frame_strokes
from toolkit.handwriting import STYLES, variants, vary

import numpy as np
import pytest

STEM = [np.column_stack([np.zeros(30), np.linspace(0, 100, 30)])]
SEVEN = np.concatenate([np.linspace([0, 0], [60, 0], 20), np.linspace([60, 0], [20, 100], 30)])
RING = [80 * np.column_stack([np.cos(t := np.linspace(0, 2 * np.pi, 60)), np.sin(t)])]


@pytest.fixture(scope="module")
def some():
    drawings = load("pendigits", "train")
    return select(drawings, np.arange(len(drawings)) % 50 == 0)


def test_the_same_seed_gives_the_same_variants(some):
    one, other, third = (variants(some, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert (one != third).any(axis=(1, 2)).all()
    assert one.shape == (len(some), 28, 28)
    assert one.dtype == np.uint8


def test_a_variant_still_looks_like_its_drawing(some):
    originals = framed(some).reshape(len(some), -1).astype(float)
    varied = variants(some, np.random.default_rng(0)).reshape(len(some), -1).astype(float)
    own = np.array([np.corrcoef(pair)[0, 1] for pair in zip(originals, varied, strict=True)])
    others = np.array([np.corrcoef(pair)[0, 1] for pair in zip(originals, varied[::-1], strict=True)])
    assert 0.4 < np.median(own) < 0.95  # neither the same nor another digit
    assert np.median(others) < 0.4


def test_strokes_keep_their_order_and_nearly_their_ends():
    rng = np.random.default_rng(0)
    for _ in range(50):
        (line,) = vary(STEM, 4, rng)
        assert line[0, 1] < -0.35
        assert line[-1, 1] > 0.35


def test_the_pens_are_as_wide_as_those_of_mnist(some):
    ink = [frame_strokes(STEM, pen=pen)[14].sum() / 255 for pen in handwriting.PENS]
    ones = Drawings([STEM] * 300, np.full(300, 4), np.zeros(300))
    widths = variants(ones, np.random.default_rng(0))[:, 14].sum(axis=1) / 255
    assert ink[0] - 0.1 < widths.min() < ink[0] + 0.3
    assert ink[1] - 0.3 < widths.max() < 1.3 * ink[1]


@pytest.mark.parametrize("name", sorted(STYLES))
def test_a_way_of_writing_belongs_to_one_digit_and_has_its_probability(name, monkeypatch):
    monkeypatch.setattr(handwriting, "STYLES", {name: STYLES[name]})
    strokes = {"slash": RING, "bar": [SEVEN]}.get(name, STEM)
    rng = np.random.default_rng(0)
    added = [len(vary(strokes, STYLES[name].digit, rng)) > len(strokes) for _ in range(1000)]
    assert np.mean(added) == pytest.approx(STYLES[name].probability, abs=0.05)
    assert not any(len(vary(strokes, 3, rng)) > len(strokes) for _ in range(100))


def test_a_flag_goes_from_the_top_of_a_one_to_the_left_and_down():
    rng = np.random.default_rng(0)
    for _ in range(200):
        start, end = handwriting.flag(STEM, rng)[-1]
        np.testing.assert_array_equal(start, STEM[0][0])
        assert end[0] < 0
        assert end[1] > 0


def test_a_bar_crosses_the_stem_of_a_seven():
    rng = np.random.default_rng(0)
    stem = SEVEN[20:] / 100
    for _ in range(200):
        left, right = handwriting.bar([SEVEN / 100], rng)[-1]
        crossed = np.interp((left[1] + right[1]) / 2, stem[:, 1], stem[:, 0])
        assert left[0] < crossed < right[0]
        assert 0.35 < left[1] < 0.85


def test_a_seven_loses_its_bar_unless_it_would_look_like_a_one():
    rng = np.random.default_rng(0)
    bar = np.array([[0.2, 0.5], [0.6, 0.5]])
    assert len(handwriting.bar([SEVEN / 100, bar], rng)) == 1
    assert len(handwriting.bar([SEVEN / 100 * [0.4, 1], bar], rng)) == 2


def test_a_slash_lies_in_the_middle_of_a_zero():
    rng = np.random.default_rng(0)
    for _ in range(200):
        start, end = handwriting.slash(RING, rng)[-1]
        assert start[0] < 0 < end[0]
        assert start[1] > 0 > end[1]


def test_pictures_and_dots_are_taken_as_they_are():
    picture = np.full((28, 28), 9, np.uint8)
    drawings = Drawings(
        [[], [np.zeros((1, 2))]], np.array([1, 2]), np.zeros(2), images=np.stack([picture] * 2)
    )
    one, dot = variants(drawings, np.random.default_rng(0))
    np.testing.assert_array_equal(one, picture)
    assert dot[13:15, 13:15].min() > 100
