"""Random changes of a batch of images, each within what a person's hand does.

    python -m toolkit.augment [--strength 1] [--output augmentation.png]    # originals beside their variants

Moved, scaled, stretched, turned, slanted, bent (elastic distortion as in P. Simard, D. Steinkraus,
J. Platt: Best practices for convolutional neural networks, ICDAR 2003) and written with a thicker or
thinner pen. Pure: what comes out depends on the images and the generator alone. Everything geometric
is one resampling of the batch, on whatever device it lies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from classifier import InputError, known
from toolkit import commandline

if TYPE_CHECKING:
    import torch

# The largest change at strength 1, chosen by eye on the sheet and on the choosing split.
RANGES = {
    "translation": 1.5,  # pixels to each side
    "scale": 0.1,  # natural logarithm of the size
    "stretch": 0.15,  # natural logarithm of width against height: on a screen people draw narrower digits
    "rotation": 9.0,  # degrees to each side
    "shear": 0.18,  # horizontal pixels per vertical pixel, to each side: the slant of a hand
    "elastic": 0.5,  # pixels, standard deviation of the displacement
    "thickness": 0.5,  # part of the way to a pen two pixels wider; half of it to a thinner one
    "blot": 0.2,  # probability that narrow gaps and loops fill with ink, as a thick pen fills them
    "hook": 0.25,  # probability of a short stroke more where the pen comes down, lifts or turns
    "style": 1.0,  # times the probabilities in `STYLES`
}
# Other ways to write a digit, of which MNIST's writers made little use. On recorded drawings of the
# choosing part, three of five errors of a network were 1s with a flag, read as 7, and two of five errors
# of an SVM were 9s with a curled tail, read as 3; after these came 4s with a short second stroke, read as 6,
# 8s and 9s whose loops a thick pen had filled, and 7s with a low bar, read as 2.
STYLES = {
    "flag": 0.5,  # on 1
    "foot": 0.1,  # under 1
    "bar": 0.3,  # through 7
    "slash": 0.05,  # through 0
    "tail": 0.3,  # on 9
    "short": 0.15,  # a 4 whose second stroke is a short one
    "cap": 0.1,  # a 5 whose top is a long stroke of its own
    "crossed": 0.12,  # a 7 with a bent stem and a low bar
    "narrow": 0.1,  # an 8 of two narrow loops
    "small": 0.15,  # a 9 with a small loop and a curled tail
}
EDGE = 1.4  # contrast that undoes the blur of one resampling
ELASTIC_GRID = 5  # control points a side: bends whole strokes, does not make them tremble


def augment(
    images: torch.Tensor,
    generator: torch.Generator,
    *,
    labels: torch.Tensor | None = None,
    strength: float = 1.0,
    parts: Collection[str] = tuple(RANGES),
) -> torch.Tensor:
    """One random variant of each image.

    Parameters
    ----------
    images : float (n, 1, 28, 28), 0 paper to 1 ink, on any device.
    generator : of the CPU, so that a seed gives the same variants on every device.
    labels : int (n,), for the change of style, which depends on the digit; it is left out without them.
    strength : multiplies every range; 0 changes nothing.
    parts : which of the changes (keys of `RANGES`) are made.

    Returns
    -------
    float (n, 1, 28, 28), 0 to 1.

    Raises
    ------
    InputError : an unknown part, or a negative strength.
    """

    import torch
    import torch.nn.functional as F

    for part in parts:
        known("augmentation", part, RANGES)
    if not 0 <= strength < math.inf:
        raise InputError(f"wanted a strength of augmentation from 0; got {strength}.")
    if strength == 0 or not parts:
        return images
    n, device = len(images), images.device
    # Everything is drawn whether used or not: leaving a part out changes no other part.
    chances = torch.rand(16, n, generator=generator).to(device)
    draw = (torch.rand(7, n, generator=generator) * 2 - 1) * strength
    bends = torch.randn(n, 2, ELASTIC_GRID, ELASTIC_GRID, generator=generator) * strength
    size = {name: RANGES[name] if name in parts else 0.0 for name in RANGES}

    centre = torch.zeros(2, n)
    if "hook" in parts:
        images = _hook(images, chances[8:12], strength * size["hook"])
    if "style" in parts and labels is not None:
        images = _restyle(images, labels, chances, strength * size["style"])
    if {"hook", "style"} & set(parts):
        # A flag moves the centre of mass, and with it the digit in its frame.
        place = torch.arange(28.0, device=device) - 13.5
        ink = images.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        centre = torch.stack(
            [(images.sum(dim=(1, 2)) @ place) / ink, (images.sum(dim=(1, 3)) @ place) / ink]
        ).cpu()
        centre = torch.where((centre.abs() > 0.6).any(dim=0), centre, 0)  # MNIST's are off by up to a half
    if "blot" in parts:
        images = _blot(images, chances[7], strength * size["blot"])
    if "thickness" in parts:
        images = _thicken(images, (draw[0] * size["thickness"]).clamp(-2, 1).to(device))
    angle = draw[1] * math.radians(size["rotation"])
    shear = draw[2] * size["shear"]
    width = torch.exp(-draw[3] * size["scale"] - draw[4] * size["stretch"] / 2)
    height = torch.exp(-draw[3] * size["scale"] + draw[4] * size["stretch"] / 2)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Rows of the map from a place in the variant to a place in the original: turn, slant, scale, move.
    matrix = torch.stack(
        [
            torch.stack(
                [
                    width * (cos + shear * sin),
                    width * (shear * cos - sin),
                    (draw[5] * size["translation"] + centre[0]) / 14,
                ],
                1,
            ),
            torch.stack([height * sin, height * cos, (draw[6] * size["translation"] + centre[1]) / 14], 1),
        ],
        dim=1,
    )  # (n, 2, 3)
    grid = F.affine_grid(matrix.to(device), list(images.shape), align_corners=False)  # (n, 28, 28, 2)
    if "elastic" in parts:
        bend = F.interpolate(bends.to(device), size=(28, 28), mode="bicubic", align_corners=True)
        grid = grid + bend.permute(0, 2, 3, 1) * (size["elastic"] / 14)
    variants = F.grid_sample(images, grid.to(images.dtype), padding_mode="zeros", align_corners=False)
    # Resampling blurs; ink has an edge of about a pixel, whatever was done to it.
    return ((variants - 0.5) * EDGE + 0.5).clamp(0, 1)


def parts_of(text: str) -> tuple[str, ...]:
    """The changes that a text with commas names, as `--augment-parts` takes it; "all" for every one."""
    if text == "all":
        return tuple(RANGES)
    return tuple(known("augmentation", part.strip(), RANGES) for part in text.split(",") if part.strip())


def _thicken(images: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Ink grown (amount 0 to 1, a pixel on each side at 1) or shrunk (0 to -2, half of it at -1)."""

    grown = _grow(images, 1)
    shrunk = -_grow(-images, 1)
    amount = amount.view(-1, 1, 1, 1)
    return images + amount.clamp(min=0) * (grown - images) + amount.clamp(max=0) / 2 * (images - shrunk)


def _blot(images: torch.Tensor, chances: torch.Tensor, probability: float) -> torch.Tensor:
    """Some images with their gaps of up to two or four pixels closed, their strokes as wide as before."""

    import torch

    images = images.clone()
    for low, high, reach in ((0.0, 0.65, 1), (0.65, 1.0, 2)):
        rows = torch.nonzero((chances >= low * probability) & (chances < high * probability)).squeeze(1)
        if len(rows):
            images[rows] = -_grow(-_grow(images[rows], reach), reach)
    return images


def _grow(images: torch.Tensor, reach: int) -> torch.Tensor:
    """The maximum over the square of `reach` pixels to each side; beyond the image there is nothing.

    As max_pool2d with a stride of 1; maxima of shifted images are ten times as fast on a CPU.
    """
    import torch

    for dim in (2, 3):
        source = images
        images = source.clone()
        for shift in range(1, reach + 1):
            rest = 28 - shift
            for to, start in ((0, shift), (shift, 0)):
                part = images.narrow(dim, to, rest)
                torch.maximum(part, source.narrow(dim, start, rest), out=part)
    return images


def _restyle(images: torch.Tensor, labels: torch.Tensor, chances: torch.Tensor, times: float) -> torch.Tensor:
    """Some of the 1s get a flag or a foot, 7s a bar, 0s a slash, 9s a curled tail, with the digit's own pen;
    some 4s, 5s, 7s, 8s and 9s are drawn anew: a 4 as an angle and a short stroke through its end, a 5 with a
    long stroke on top, a 7 with a bent stem and a low bar, an 8 of two narrow loops, a 9 of a small loop, a
    bent stem and a curled tail.

    chances : (16, n), 0 to 1; the first two say whether, the next five and the last four say how.
    """

    import torch

    images = images.clone()

    def picked(digit: int, style: str, row: int) -> torch.Tensor:
        return torch.nonzero((labels == digit) & (chances[row] < STYLES[style] * times)).squeeze(1)

    def between(low: float, high: float, row: int, rows: torch.Tensor) -> torch.Tensor:
        return low + (high - low) * chances[row, rows]

    ones = picked(1, "flag", 0)
    top, bottom, width = _stem(images[ones, 0])
    stem = bottom - top
    # Radians, from the stem to the left; a flag that lay level would make a 7 of it.
    slant = torch.atan2(-stem[:, 0], stem[:, 1])
    turn = 0.12 + ((1.3 - slant).clamp(0.45, 1.3) - 0.12) * chances[2, ones]
    x = torch.cos(turn) * stem[:, 0] - torch.sin(turn) * stem[:, 1]
    y = torch.sin(turn) * stem[:, 0] + torch.cos(turn) * stem[:, 1]
    length = between(0.2, 0.9, 3, ones)[:, None]
    _draw(images, ones, top, top + torch.stack([x, y], 1) * length, width)

    ones = picked(1, "foot", 1)
    top, bottom, width = _stem(images[ones, 0])
    height = (bottom - top)[:, 1]
    tilt = height * between(-0.05, 0.05, 4, ones)
    left = torch.stack([-height * between(0.15, 0.4, 5, ones), tilt], 1)
    right = torch.stack([height * between(0.15, 0.4, 6, ones), -tilt], 1)
    _draw(images, ones, bottom + left, bottom + right, width)

    sevens = picked(7, "bar", 0)
    top, bottom, width = _stem(images[sevens, 0])
    # The stem of a 7 begins at the right end of its top stroke, so the bar lies on the ink's own middle.
    row = (top[:, 1] + (bottom - top)[:, 1] * between(0.4, 0.72, 2, sevens)).round().long().clamp(0, 27)
    ink = images[sevens, 0][torch.arange(len(sevens), device=images.device), row]
    place = torch.arange(28.0, device=images.device) + 0.5
    x = (ink @ place) / ink.sum(1).clamp(min=1e-6)
    middle = torch.stack([x + between(-1, 2, 12, sevens), row + 0.5], 1)
    half = torch.stack([between(2.5, 5.5, 3, sevens), between(-2.5, 1, 4, sevens)], 1)
    _draw(images, sevens, middle - half, middle + half, width)

    fours = picked(4, "short", 0)
    width = _stem(images[fours, 0])[2].clamp(max=3.5)
    images[fours] = 0
    corner = _points(between(7, 13, 2, fours), between(14, 19, 3, fours))
    top = _points(0 * width + 14, 4)
    end = corner + _points(between(5, 10, 4, fours), between(-2, 1.5, 5, fours))
    up = end + _points(between(-2, 2, 6, fours), -between(0.5, 6, 12, fours))
    down = _points(end[:, 0] - between(-1, 2.5, 13, fours), between(21, 25, 14, fours))
    _draw_path(images, fours, [top, corner, end, up], width)
    _draw(images, fours, end, down, width)

    fives = picked(5, "cap", 0)
    width = _stem(images[fives, 0])[2].clamp(max=3)
    images[fives] = 0
    left, right, low = between(7, 10, 2, fives), between(14, 18.5, 6, fives), between(4, 9, 13, fives)
    height, middle = between(9, 13, 5, fives), between(14, 18, 12, fives)
    start = _points(left, 4)
    cap = _points(between(16, 22, 3, fives), between(2.5, 5.5, 4, fives))
    bowl = [_points(left - 0.5, height), _points((left + right) / 2 + 1, height - 1), _points(right, middle)]
    bowl += [_points(right - 1.5, middle + 4), _points((right + low) / 2, 23.5)]
    _draw_path(images, fives, [cap, start, *bowl, _points(low, between(20, 23.5, 14, fives))], width)

    sevens = picked(7, "crossed", 1)
    width = _stem(images[sevens, 0])[2].clamp(max=3.5)
    images[sevens] = 0
    right, height = between(15, 20, 4, sevens), between(12, 16, 6, sevens)
    bend = right - between(1, 5, 5, sevens)
    foot = bend - between(0, 5, 12, sevens)
    start = _points(between(5, 10, 2, sevens), between(4, 8, 3, sevens))
    top = _points((start[:, 0] + right) / 2, between(3.5, 5, 13, sevens))
    _draw_path(
        images, sevens, [start, top, _points(right, 5), _points(bend, height), _points(foot, 24)], width
    )
    level = between(13, 19.5, 13, sevens)
    x = bend + (foot - bend) * ((level - height) / (24 - height)).clamp(0, 1)
    tilt = between(-1.5, 1, 3, sevens)
    ends = [
        _points(x - between(1, 5, 14, sevens), level - tilt),
        _points(x + between(2, 6.5, 15, sevens), level + tilt),
    ]
    _draw_path(images, sevens, ends, width)

    eights = picked(8, "narrow", 0)
    width = _stem(images[eights, 0])[2].clamp(max=2.8)
    images[eights] = 0
    waist = between(11.5, 15.5, 2, eights)
    for first, last, chance in ((0 * waist + 4, waist, 3), (waist, 0 * waist + 24, 4)):
        half = _points(between(1.3, 4, chance, eights), (last - first) / 2)
        centre = _points(between(13, 15, chance + 2, eights), (first + last) / 2)
        _ring(images, eights, centre, half, width)

    nines = picked(9, "small", 1)
    width = _stem(images[nines, 0])[2].clamp(max=3)
    images[nines] = 0
    half = _points(between(1.2, 3.8, 2, nines), between(1.2, 3.8, 3, nines))
    centre = _points(between(11, 14, 4, nines), half[:, 1] + 5)
    _ring(images, nines, centre, half, width)
    start = centre + half * _points(0 * width + 1, between(-1, 0.5, 5, nines))
    bend = _points(start[:, 0] + between(-0.5, 3, 6, nines), between(14, 20, 12, nines))
    low = _points(bend[:, 0] - between(0.5, 3.5, 13, nines), 24)
    tail = low - _points(between(0, 9, 14, nines), between(-0.5, 2.5, 15, nines))
    _draw_path(images, nines, [start, bend, low, tail], width)

    zeros = picked(0, "slash", 0)
    top, bottom, width = _stem(images[zeros, 0])
    middle = (top + bottom) / 2
    half = torch.stack([between(3, 6, 2, zeros), -(bottom - top)[:, 1] * between(0.35, 0.6, 3, zeros)], 1)
    _draw(images, zeros, middle - half, middle + half, width.clamp(max=3) * 0.6)

    nines = picked(9, "tail", 0)
    top, bottom, width = _stem(images[nines, 0])
    height = (bottom - top)[:, 1]
    left, up = height * between(0.25, 0.7, 2, nines), height * between(0.0, 0.25, 3, nines)
    turning = bottom + torch.stack([-left * 0.55, height * between(0.0, 0.12, 4, nines)], 1)
    _draw(images, nines, bottom, turning, width)
    _draw(images, nines, turning, bottom + torch.stack([-left, -up], 1), width)
    return images


def _hook(images: torch.Tensor, chances: torch.Tensor, probability: float) -> torch.Tensor:
    """Some images with a stroke of 1.5 to 5 pixels more, from where their ink reaches farthest some way.

    chances : (4, n), 0 to 1; one says whether, three say how.
    """
    import torch

    images = images.clone()
    rows = torch.nonzero(chances[0] < probability).squeeze(1)
    ink = images[rows, 0]
    angle = chances[1, rows] * 2 * torch.pi
    place = torch.arange(28.0, device=images.device) + 0.5
    x, y = torch.cos(angle)[:, None, None] * place, torch.sin(angle)[:, None, None] * place[:, None]
    farthest = torch.where(ink > 0.5, x + y, -99.0).flatten(1).argmax(dim=1)
    start = torch.stack([farthest % 28, farthest // 28], 1) + 0.5
    start = start - torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    turned = angle + (chances[2, rows] * 2 - 1) * 1.8
    length = 2.5 + 3.5 * chances[3, rows]
    end = start + torch.stack([torch.cos(turned), torch.sin(turned)], 1) * length[:, None]
    width = _stem(ink)[2].clamp(max=3)
    drawn = (ink.amax(dim=(1, 2)) > 0.5) & (end > 2).all(dim=1) & (end < 26).all(dim=1)
    _draw(images, rows[drawn], start[drawn], end[drawn], width[drawn])
    return images


def _stem(ink: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The uppermost and the lowest place (k, 2), x and y, of ink (k, 28, 28), and its pen's width (k,)."""

    import torch

    place = torch.arange(28.0, device=ink.device)
    dark = (ink.amax(dim=2) > 0.5).float()
    rows = torch.stack(
        [torch.where(dark > 0, place, 99).amin(1), torch.where(dark > 0, place, -1).amax(1)], 1
    )
    rows = rows.clamp(0, 27)  # (k, 2): the first and the last row with ink
    line = ink.gather(1, rows.long()[:, :, None].expand(-1, -1, 28))
    columns = (line @ place) / line.sum(2).clamp(min=1e-6)
    ends = torch.stack([columns, rows], dim=2) + 0.5  # (k, 2 ends, 2)
    height = (rows[:, 1] - rows[:, 0] + 1).clamp(min=1)
    # The ink of a row that crosses one stroke only is the pen's width, a little more where it lies aslant.
    width = ink.sum(dim=2).sort(dim=1).values.gather(1, (28 - 0.75 * height).long()[:, None]).squeeze(1)
    top, bottom = ends[:, 0], ends[:, 1]
    inset = torch.stack([torch.zeros_like(width), width / 2], 1)
    return top + inset, bottom - inset, width.clamp(1.5, 6)


def _draw(
    images: torch.Tensor, rows: torch.Tensor, start: torch.Tensor, end: torch.Tensor, width: torch.Tensor
) -> None:
    """Add a straight stroke from start to end (k, 2), with round ends, to the images `rows`, in place."""

    import torch

    place = torch.arange(28.0, device=images.device) + 0.5
    x, y = place[None, None, :] - start[:, 0, None, None], place[None, :, None] - start[:, 1, None, None]
    along = (end - start)[:, :, None, None]
    square = (along**2).sum(dim=1).clamp(min=1e-6)
    part = ((x * along[:, 0] + y * along[:, 1]) / square).clamp(0, 1)
    distance = torch.sqrt((x - part * along[:, 0]) ** 2 + (y - part * along[:, 1]) ** 2)
    ink = (width[:, None, None] / 2 + 0.5 - distance).clamp(0, 1)
    images[rows, 0] = torch.maximum(images[rows, 0], ink)


def _points(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
    """Places (k, 2) from their coordinates (k,); y may be one number for all."""
    import torch

    return torch.stack([x, torch.as_tensor(y, dtype=x.dtype, device=x.device).expand_as(x)], dim=1)


def _draw_path(
    images: torch.Tensor, rows: torch.Tensor, path: Sequence[torch.Tensor], width: torch.Tensor
) -> None:
    """Add the stroke through the places (k, 2) of a path to the images `rows`, in place."""
    for start, end in itertools.pairwise(path):
        _draw(images, rows, start, end, width)


def _ring(
    images: torch.Tensor, rows: torch.Tensor, centre: torch.Tensor, half: torch.Tensor, width: torch.Tensor
) -> None:
    """Add an ellipse around centre (k, 2), its half axes (k, 2), to the images `rows`, in place."""
    import torch

    place = torch.arange(28.0, device=images.device) + 0.5
    x = (place[None, None, :] - centre[:, 0, None, None]).expand(-1, 28, -1)
    y = (place[None, :, None] - centre[:, 1, None, None]).expand(-1, -1, 28)
    a, b = half[:, 0, None, None], half[:, 1, None, None]
    # The distance from an implicit curve to first order: its value by its gradient's length.
    level = torch.sqrt((x / a) ** 2 + (y / b) ** 2).clamp(min=1e-3)
    slope = (torch.sqrt((x / a**2) ** 2 + (y / b**2) ** 2) / level).clamp(min=1e-3)
    distance = (level - 1).abs() / slope
    ink = (width[:, None, None] / 2 + 0.5 - distance).clamp(0, 1)
    images[rows, 0] = torch.maximum(images[rows, 0], ink)


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--strength", type=float, default=1.0, help="of the augmentation")
    parser.add_argument(
        "--parts", default="all", help=f"which changes are made, with commas: {', '.join(RANGES)}"
    )
    parser.add_argument("--output", default="augmentation.png", metavar="FILE", help="the sheet, a picture")
    parser.add_argument("--seed", type=commandline.seed, default=0, help="of the variants")
    commandline.add_data_flags(parser)
    arguments = parser.parse_args(argv)

    import numpy as np
    import torch
    import torch.nn.functional as F
    from PIL import Image

    from toolkit import datasets

    train_set = datasets.load("train", dataset=arguments.dataset, data=arguments.data, limit=arguments.limit)
    generator = torch.Generator().manual_seed(arguments.seed)
    # Two rows a digit: the sheet shows every class.
    rows = [index for digit in range(10) for index in np.flatnonzero(train_set.labels == digit)[:2]]
    originals = torch.from_numpy(train_set.images[rows]).float().div(255).unsqueeze(1)
    parts = parts_of(arguments.parts)
    columns = [originals]
    labels = torch.from_numpy(train_set.labels[rows])
    columns += [
        augment(originals, generator, labels=labels, strength=arguments.strength, parts=parts)
        for _ in range(15)
    ]
    sheet = torch.cat(
        [F.pad(column, (1, 1, 1, 1), value=0.12) for column in columns], dim=3
    )  # (rows, 1, 30, ..)
    sheet[..., 30:33] = 0.5  # a line between the originals and their variants
    picture = 255 - sheet.flatten(0, 2).mul(255).round().byte().numpy()
    image = Image.fromarray(picture)
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(arguments.output)
    print(f"{arguments.output}: originals in the first column, 15 variants beside each")


if __name__ == "__main__":
    commandline.run(main)
