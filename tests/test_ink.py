"""The ink on the paper: its shape, its edges, and that it grows to the same image as it is drawn at once."""

from __future__ import annotations

from toolkit.ink import Ink

import numpy as np
import pytest


def drawn(stroke, width: float = 20, side: int = 200) -> np.ndarray:
    ink = Ink(side)
    ink.draw(stroke, width)
    return ink.coverage


def test_a_dot_is_a_disc():
    coverage = drawn([(100, 100)])
    assert coverage.sum() / 255 == pytest.approx(np.pi * 10**2, rel=0.01)
    assert np.array_equal(coverage, coverage.T)
    assert np.array_equal(coverage, coverage[::-1, ::-1])


def test_a_straight_stroke_is_a_capsule_with_soft_edges():
    coverage = drawn([(50, 100), (80, 110), (110, 120), (140, 130)])
    length = np.hypot(90, 30)
    assert coverage.sum() / 255 == pytest.approx(20 * length + np.pi * 10**2, rel=0.01)
    assert len(np.unique(coverage)) > 5, "an edge has several shades"


def test_the_curve_passes_through_its_points_without_corners():
    angles = np.linspace(0, 2 * np.pi, 13)
    circle = [(100 + 60 * np.cos(angle), 100 + 60 * np.sin(angle)) for angle in angles]
    coverage = drawn(circle, width=8)
    y, x = np.nonzero(coverage > 200)
    radii = np.hypot(x + 0.5 - 100, y + 0.5 - 100)
    assert radii.max() < 65, "12 straight lines would reach 2 pixels inwards"
    assert radii.min() > 55
    assert all(coverage[int(y), int(x)] == 255 for x, y in circle)


@pytest.mark.parametrize("seed", range(5))
def test_growing_gives_the_same_as_drawing_at_once(seed):
    rng = np.random.default_rng(seed)
    ink, again = Ink(200, unit=2.5), Ink(200, unit=2.5)
    shown = np.zeros((200, 200), np.uint8)
    for _ in range(3):
        steps = rng.choice([0.3, 5, 80], 40)[:, None] * rng.normal(size=(40, 2))
        stroke = [tuple(point) for point in np.clip(250 + steps.cumsum(axis=0), -20, 520)]
        length = 0
        while length < len(stroke):
            length = min(len(stroke), length + int(rng.integers(1, 5)))
            box = ink.draw(stroke[:length], 28, finished=False)
            left, top, right, bottom = box
            shown[top:bottom, left:right] = ink.coverage[top:bottom, left:right]
            assert np.array_equal(shown, ink.coverage), "nothing changed outside the box"
        assert ink.draw(stroke, 28, finished=False) is None, "there is nothing new"
        left, top, right, bottom = ink.draw(stroke, 28)
        shown[top:bottom, left:right] = ink.coverage[top:bottom, left:right]
        assert np.array_equal(shown, ink.coverage)
        again.draw(stroke, 28)
        assert np.array_equal(ink.coverage, again.coverage)


def test_points_outside_and_points_again_do_no_harm():
    coverage = drawn([(-500, 100), (700, 100), (700, 100), (700, 100.0001)])
    assert (coverage[100] == 255).all()
    assert not coverage[120].any()
    assert np.array_equal(drawn([(50, 50)] * 30), drawn([(50, 50)]))
