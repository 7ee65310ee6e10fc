"""Other ways to write a digit, drawn on the pixels: flags, feet, bars, hooks, and digits written anew.

MNIST's writers made little use of them. On the recorded drawings of the validation part, three of five errors
of a network were 1s with a flag, read as 7. Two of five errors of an SVM were 9s with a curled tail, read as
3. After these came 4s with a short second stroke, read as 6; 8s and 9s whose loops a thick pen had filled;
and 7s with a low bar, read as 2.

Every function here takes the ink of some images, float (k, 28, 28), 0 paper to 1 ink, and `between`, which
draws a random number for each of them. It returns the new ink. A new way of writing is one such function and
one entry in `STYLES`. This module imports PyTorch, so import it where it is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

Between = Callable[[float, float], torch.Tensor]  # (low, high) -> (k,)


class Style(NamedTuple):
    """A way to write `digit`, and the probability that a digit is written so at strength 1."""

    digit: int
    probability: float
    write: Callable[[torch.Tensor, Between], torch.Tensor]


def hook(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Lengthen a stroke by a short bent one, as when the pen comes down, lifts or turns."""
    angle = between(0, 2 * torch.pi)
    place = torch.arange(28.0, device=ink.device) + 0.5
    x, y = torch.cos(angle)[:, None, None] * place, torch.sin(angle)[:, None, None] * place[:, None]
    farthest = torch.where(ink > 0.5, x + y, -99.0).flatten(1).argmax(dim=1)
    start = _points(farthest % 28 + 0.5, farthest // 28 + 0.5) - _points(torch.cos(angle), torch.sin(angle))
    # At the end of a stroke, all the ink around lies behind it: the hook goes on from there. A hook in the
    # middle of a stroke, or one that turned far back, would look like a V.
    x, y = _from(start)
    near = ink * (x**2 + y**2 < 4.5**2)
    behind = _points((near * x).sum((1, 2)), (near * y).sum((1, 2)))
    ahead = -behind / near.sum((1, 2)).clamp(min=1e-6)[:, None]
    turned = torch.atan2(ahead[:, 1], ahead[:, 0]) + between(-1.2, 1.2)
    end = start + _points(torch.cos(turned), torch.sin(turned)) * between(2.5, 6)[:, None]
    fits = (ahead.norm(dim=1) > 0.9) & (end > 2).all(dim=1) & (end < 26).all(dim=1)
    return torch.where(fits[:, None, None], _path(ink, [start, end], _stem(ink)[2].clamp(max=3)), ink)


def flag(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Draw the upstroke of a 1, from its top to the left."""
    top, bottom, width = _stem(ink)
    stem = bottom - top
    # Radians, from the stem to the left. A level flag would turn the 1 into a 7.
    slant = torch.atan2(-stem[:, 0], stem[:, 1])
    turn = 0.12 + ((1.3 - slant).clamp(0.45, 1.3) - 0.12) * between(0, 1)
    x = torch.cos(turn) * stem[:, 0] - torch.sin(turn) * stem[:, 1]
    y = torch.sin(turn) * stem[:, 0] + torch.cos(turn) * stem[:, 1]
    return _path(ink, [top, top + _points(x, y) * between(0.2, 0.9)[:, None]], width)


def foot(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Draw the line that a 1 stands on."""
    top, bottom, width = _stem(ink)
    height = (bottom - top)[:, 1]
    tilt = height * between(-0.05, 0.05)
    left = _points(-height * between(0.15, 0.4), tilt)
    right = _points(height * between(0.15, 0.4), -tilt)
    return _path(ink, [bottom + left, bottom + right], width)


def bar(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Draw the bar through the stem of a 7."""
    top, bottom, width = _stem(ink)
    # The stem begins at the right end of the top stroke, so centre the bar on the ink of its own row.
    row = (top[:, 1] + (bottom - top)[:, 1] * between(0.4, 0.72)).round().long().clamp(0, 27)
    crossed = ink[torch.arange(len(ink), device=ink.device), row]
    place = torch.arange(28.0, device=ink.device) + 0.5
    x = (crossed @ place) / crossed.sum(1).clamp(min=1e-6)
    middle = _points(x + between(-1, 2), row + 0.5)
    half = _points(between(2.5, 5.5), between(-2.5, 1))
    return _path(ink, [middle - half, middle + half], width)


def short_four(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Write a 4 anew: an angle, and a short stroke through its end."""
    width = _stem(ink)[2].clamp(max=3.5)
    corner = _points(between(7, 13), between(14, 19))
    end = corner + _points(between(5, 10), between(-2, 1.5))
    up = end + _points(between(-2, 2), -between(0.5, 6))
    down = _points(end[:, 0] - between(-1, 2.5), between(21, 25))
    angle = _path(ink * 0, [_points(0 * width + 14, 4), corner, end, up], width)
    return _path(angle, [end, down], width)


def capped_five(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Write a 5 anew: its top is a long stroke of its own."""
    width = _stem(ink)[2].clamp(max=3)
    left, right, low = between(7, 10), between(14, 18.5), between(4, 9)
    height, middle = between(9, 13), between(14, 18)
    cap = [_points(between(16, 22), between(2.5, 5.5)), _points(left, 4)]
    bowl = [_points(left - 0.5, height), _points((left + right) / 2 + 1, height - 1), _points(right, middle)]
    bowl += [_points(right - 1.5, middle + 4), _points((right + low) / 2, 23.5)]
    return _path(ink * 0, [*cap, *bowl, _points(low, between(20, 23.5))], width)


def crossed_seven(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Write a 7 anew, with a bent stem and a low bar."""
    width = _stem(ink)[2].clamp(max=3.5)
    right, height = between(15, 20), between(12, 16)
    bend = right - between(1, 5)
    foot = bend - between(0, 5)
    start = _points(between(5, 10), between(4, 8))
    top = _points((start[:, 0] + right) / 2, between(3.5, 5))
    stem = [_points(right, 5), _points(bend, height), _points(foot, 24)]
    level = between(13, 19.5)
    x = bend + (foot - bend) * ((level - height) / (24 - height)).clamp(0, 1)
    tilt = between(-1.5, 1)
    bar = [_points(x - between(1, 5), level - tilt), _points(x + between(2, 6.5), level + tilt)]
    return _path(_path(ink * 0, [start, top, *stem], width), bar, width)


def narrow_eight(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Write an 8 anew, of two narrow loops."""
    width = _stem(ink)[2].clamp(max=2.8)
    waist = between(11.5, 15.5)
    ink = ink * 0
    for first, last in ((0 * waist + 4, waist), (waist, 0 * waist + 24)):
        half = _points(between(1.3, 4), (last - first) / 2)
        ink = _ring(ink, _points(between(13, 15), (first + last) / 2), half, width)
    return ink


def small_nine(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Write a 9 anew: a small loop, a bent stem and a curled tail."""
    width = _stem(ink)[2].clamp(max=3)
    half = _points(between(1.2, 3.8), between(1.2, 3.8))
    centre = _points(between(11, 14), half[:, 1] + 5)
    start = centre + half * _points(0 * width + 1, between(-1, 0.5))
    bend = _points(start[:, 0] + between(-0.5, 3), between(14, 20))
    low = _points(bend[:, 0] - between(0.5, 3.5), 24)
    tail = low - _points(between(0, 9), between(-0.5, 2.5))
    return _path(_ring(ink * 0, centre, half, width), [start, bend, low, tail], width)


def slash(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Draw the thin stroke through a 0."""
    top, bottom, width = _stem(ink)
    middle = (top + bottom) / 2
    half = _points(between(3, 6), -(bottom - top)[:, 1] * between(0.35, 0.6))
    return _path(ink, [middle - half, middle + half], width.clamp(max=3) * 0.6)


def tail(ink: torch.Tensor, between: Between) -> torch.Tensor:
    """Curl the stem of a 9 to the left."""
    top, bottom, width = _stem(ink)
    height = (bottom - top)[:, 1]
    left, up = height * between(0.25, 0.7), height * between(0.0, 0.25)
    turning = bottom + _points(-left * 0.55, height * between(0.0, 0.12))
    return _path(ink, [bottom, turning, bottom + _points(-left, -up)], width)


# In the order in which they are applied: what is written anew loses what was added before.
STYLES = {
    "flag": Style(1, 0.5, flag),
    "foot": Style(1, 0.1, foot),
    "bar": Style(7, 0.3, bar),
    "slash": Style(0, 0.05, slash),
    "short": Style(4, 0.15, short_four),
    "cap": Style(5, 0.1, capped_five),
    "crossed": Style(7, 0.12, crossed_seven),
    "narrow": Style(8, 0.1, narrow_eight),
    "small": Style(9, 0.15, small_nine),
    "tail": Style(9, 0.3, tail),
}


def _points(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
    """Join coordinates (k,) to places (k, 2), in pixels; y may be one number for all."""
    return torch.stack([x, torch.as_tensor(y, dtype=x.dtype, device=x.device).expand_as(x)], dim=1)


def _stem(ink: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the uppermost and the lowest place of the ink, both (k, 2), and the pen's width (k,)."""
    place = torch.arange(28.0, device=ink.device)
    dark = ink.amax(dim=2) > 0.5
    first, last = torch.where(dark, place, 99).amin(1), torch.where(dark, place, -1).amax(1)
    rows = torch.stack([first, last], 1).clamp(0, 27)
    line = ink.gather(1, rows.long()[:, :, None].expand(-1, -1, 28))
    columns = (line @ place) / line.sum(2).clamp(min=1e-6)
    height = (rows[:, 1] - rows[:, 0] + 1).clamp(min=1)
    # A row that crosses one stroke only has as much ink as the pen is wide, a little more if it lies aslant.
    width = ink.sum(dim=2).sort(dim=1).values.gather(1, (28 - 0.75 * height).long()[:, None]).squeeze(1)
    top, bottom = (torch.stack([columns, rows], dim=2) + 0.5).unbind(1)
    inset = _points(0 * width, width / 2)
    return top + inset, bottom - inset, width.clamp(1.5, 6)


def _from(point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how far the pixels lie to the right of places (k, 2), (k, 1, 28), and below them, (k, 28, 1)."""
    place = torch.arange(28.0, device=point.device) + 0.5
    return place - point[:, 0, None, None], place[:, None] - point[:, 1, None, None]


def _add(ink: torch.Tensor, distance: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Add the ink of a pen of a width (k,) to the pixels at a distance (k, 28, 28) from its line."""
    return ink.maximum((width[:, None, None] / 2 + 0.5 - distance).clamp(0, 1))


def _path(ink: torch.Tensor, path: Sequence[torch.Tensor], width: torch.Tensor) -> torch.Tensor:
    """Add the stroke through the places (k, 2) of a path, with round ends."""
    for start, end in itertools.pairwise(path):
        x, y = _from(start)
        along = (end - start)[:, :, None, None]
        square = (along**2).sum(dim=1).clamp(min=1e-6)
        part = ((x * along[:, 0] + y * along[:, 1]) / square).clamp(0, 1)
        ink = _add(ink, torch.sqrt((x - part * along[:, 0]) ** 2 + (y - part * along[:, 1]) ** 2), width)
    return ink


def _ring(ink: torch.Tensor, centre: torch.Tensor, half: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Add an ellipse around the places `centre` (k, 2); `half` (k, 2) are its half axes."""
    x, y = _from(centre)
    a, b = half[:, 0, None, None], half[:, 1, None, None]
    # The distance from an implicit curve, to first order: its value divided by the length of its gradient.
    level = torch.sqrt((x / a) ** 2 + (y / b) ** 2).clamp(min=1e-3)
    slope = (torch.sqrt((x / a**2) ** 2 + (y / b**2) ** 2) / level).clamp(min=1e-3)
    return _add(ink, (level - 1).abs() / slope, width)
