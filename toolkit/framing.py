"""Turn a drawing, as strokes or as a picture, into a 28 x 28 image framed as MNIST frames its digits.

MNIST's digits fill a box of 20 x 20 pixels on their longer side. They have their centre of mass in the middle
of 28 x 28 pixels, and were written with a pen about 2.5 of those pixels wide (Y. LeCun, C. Cortes, C. Burges:
The MNIST database, 1998). People draw off centre, in other sizes and with other pens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDE = 28  # pixels of an image's side
BOX = 20.0  # pixels of the box that MNIST's digits fill
PEN = 2.6  # the pen's width in pixels, chosen on the validation part of the recorded drawings
FAINTEST = 24  # of 255: what differs less from the paper is its grain
SMALLEST_PHOTO = 64  # pixels: a smaller picture has no shadow and no frame

_CENTRES = np.arange(SIDE) + 0.5


def frame_strokes(strokes: Sequence[np.ndarray], *, pen: float = PEN, box: float = BOX) -> np.ndarray:
    """Return the image of a digit drawn as pen strokes, whatever its size and place.

    Parameters
    ----------
    strokes : for each stroke its points (k, 2), in any unit: x to the right, y downwards. A stroke of one
        point is a dot. Points that are not finite are left out.
    pen : the pen's width in pixels of the image.
    box : the longer side of the drawing, pen included, in pixels of the image.

    Returns
    -------
    uint8 (28, 28), 0 paper, 255 ink; all zeros if nothing is drawn.

    Raises
    ------
    ValueError : a stroke is not a (k, 2) array.
    """
    lines = []
    for stroke in strokes:
        points = np.asarray(stroke, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"wanted strokes of shape (k, 2); got {points.shape}.")
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            lines.append(points)
    if not lines:
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    everything = np.concatenate(lines)
    low, high = everything.min(axis=0), everything.max(axis=0)
    longest = float((high - low).max())
    scale = (box - pen) / longest if longest > 0 else 1.0
    starts, ends = _segments([(line - (low + high) / 2) * scale + SIDE / 2 for line in lines])
    ink = _ink(starts, ends, pen)
    # Only the rendered image knows its centre of mass.
    shift = SIDE / 2 - _centre_of_mass(ink)
    return np.rint(_ink(starts + shift, ends + shift, pen) * 255).astype(np.uint8)


def frame_picture(picture: np.ndarray, *, pen: float = PEN, box: float = BOX) -> np.ndarray:
    """Return the image of a digit in a picture, whatever its size, place, pen and polarity.

    The outline of the ink becomes a signed distance field. From it, a stroke of any width can be drawn again
    with the width `pen`. Then the same rule holds as for strokes: the pen's path fills the box less the pen's
    width.

    Parameters
    ----------
    picture : uint8 (height, width), dark on light or light on dark.
    pen, box : as in `frame_strokes`.

    Returns
    -------
    uint8 (28, 28), 0 paper, 255 ink; all zeros for a picture without ink.

    Raises
    ------
    ValueError : another shape or dtype.
    """
    shape, dtype = np.shape(picture), getattr(picture, "dtype", type(picture).__name__)
    if len(shape) != 2 or 0 in shape or dtype != np.uint8:
        raise ValueError(f"wanted a picture, uint8 (height, width); got {dtype} {shape}.")
    ink = _enlarged_ink(picture)
    image = np.zeros((SIDE, SIDE)) if ink is None else _redrawn(ink > 0.5, pen, box)
    return np.rint(image * 255).astype(np.uint8)


def _redrawn(solid: np.ndarray, pen: float, box: float) -> np.ndarray:
    """Draw a digit's ink, bool (height, width), again with another pen; (28, 28), 0 to 1."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(solid) - ndimage.distance_transform_edt(~solid)
    # Both transforms measure to the middle of the nearest pixel of the other kind, half a pixel too far.
    depth -= np.where(solid, 0.5, -0.5)
    # A stroke of length l and width w has the area l w and an outline of about 2 l.
    outline = np.diff(solid, axis=0).sum() + np.diff(solid, axis=1).sum()
    # On a grid an outline counts 4 / pi times its length, as a mean over all directions.
    width = 2 * solid.sum() / (outline * np.pi / 4)
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    low = np.array([columns[0], rows[0]], dtype=np.float64)
    high = np.array([columns[-1], rows[-1]], dtype=np.float64) + 1
    path = (high - low).max() - width
    scale = (box - pen) / path if path > width / 2 else pen / width
    thinner = width * scale / 2 - pen / 2

    def render(centre: np.ndarray) -> np.ndarray:
        x, y = (centre[axis] - 0.5 + (_CENTRES - SIDE / 2) / scale for axis in (0, 1))
        there = ndimage.map_coordinates(depth, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
        return np.clip(there * scale - thinner + 0.5, 0, 1)

    centre = (low + high) / 2
    image = render(centre)
    if not image.any():
        return image
    centre += (_centre_of_mass(image) - SIDE / 2) / scale
    return render(centre)


def _enlarged_ink(picture: np.ndarray) -> np.ndarray | None:
    """Find a picture's digit and enlarge or shrink it, to about 160 pixels on its longer side.

    Returns ink 0 to 1 with a margin around the digit, or None if there is no ink.
    """
    from PIL import Image
    from scipy import ndimage

    ink = _ink_of(_without_frame(picture.astype(np.float32)))
    if ink is None:
        return None
    # Dust would move the box: only pieces with a real part of the ink count.
    pieces, count = ndimage.label(ink > 0.4, structure=np.ones((3, 3)))
    mass = ndimage.sum_labels(ink, pieces, np.arange(1, count + 1))
    kept = np.isin(pieces, 1 + np.flatnonzero(mass >= 0.03 * mass.max()))
    ink = np.where(ndimage.binary_dilation(kept, structure=np.ones((3, 3)), iterations=2), ink, 0)
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    margin = int(np.ceil(side / 2)) + 2
    ink = np.pad(ink, margin)[rows[0] : rows[-1] + 1 + 2 * margin, columns[0] : columns[-1] + 1 + 2 * margin]
    factor = 160 / side
    size = [max(1, round(length * factor)) for length in ink.shape[::-1]]
    resized = np.asarray(Image.fromarray(ink.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    # Thin lines are faint, and more so after averaging; next to the strongest ink nearby they are dark.
    nearby = ndimage.maximum_filter(resized, size=int(9 * max(1, factor)))
    return resized / np.maximum(nearby, 1e-6)


def _ink_of(grey: np.ndarray) -> np.ndarray | None:
    """Return how much ink there is, 0 to 1 float32 (height, width), or None if there is none."""
    border = _border(grey)
    paper = np.median(border)
    darker, lighter = paper - grey.min(), grey.max() - paper
    strongest = max(darker, lighter)
    if strongest < FAINTEST:
        return None
    uneven = (np.abs(border - paper) > strongest / 4).mean() > 0.05
    if uneven and min(grey.shape) >= SMALLEST_PHOTO:
        return _ink_in_a_photo(grey)
    ink = paper - grey if darker > lighter else grey - paper
    return np.clip(ink / strongest, 0, 1)


def _ink_in_a_photo(grey: np.ndarray) -> np.ndarray | None:
    """Return the ink on paper that light falls on unevenly, as `_ink_of` does, in a smaller picture.

    A morphological closing fills all that is dark and narrow. What remains is the paper, with every shadow
    that is wider than a stroke (J. Serra: Image Analysis and Mathematical Morphology, 1982).
    """
    from PIL import Image
    from scipy import ndimage

    paper = np.percentile(_border(grey), 90)  # where it is lit best
    if paper - grey.min() < grey.max() - paper:
        grey = 255 - grey
    grey = np.asarray(Image.fromarray(grey).reduce(max(1, max(grey.shape) // 400)))
    size = int(0.3 * min(grey.shape))
    paper = ndimage.grey_closing(grey, size=(size, size), mode="nearest")
    # The share of light that it swallows is the same in a shadow. In the dark there is only grain.
    ink = (paper - grey) / np.maximum(paper, paper.max() / 4)
    strongest = ink.max()
    if strongest < FAINTEST / 255:
        return None
    ink /= strongest
    # A shadow as narrow as a stroke still looks like ink, but comes from beyond the picture.
    pieces, _ = ndimage.label(ink > 0.4, structure=np.ones((3, 3)))
    outside = np.isin(pieces, _border(pieces)) & (pieces > 0)
    if ink[(pieces > 0) & ~outside].sum() > 0.1 * ink[outside].sum():
        ink[ndimage.binary_dilation(outside, iterations=2)] = 0
    return ink


def _border(grey: np.ndarray) -> np.ndarray:
    """Return the pixels at the edge of a picture."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _without_frame(grey: np.ndarray) -> np.ndarray:
    """Cut off a frame: a border all around a rectangle that holds most of the picture, and a digit."""
    from scipy import ndimage

    if min(grey.shape) < SMALLEST_PHOTO:
        return grey
    frame = np.median(_border(grey))
    inside = np.abs(grey - frame) > np.abs(grey - frame).max() / 2
    pieces, count = ndimage.label(inside)
    if not count:
        return grey
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    place = ndimage.find_objects(largest.astype(np.int8))[0]
    paper = largest[place]
    height, width = paper.shape
    # A digit that fills the picture is no frame: it lacks a corner, or encloses nothing.
    corner = np.s_[: max(1, height // 10)], np.s_[: max(1, width // 10)]
    corners = [paper[::down, ::across][corner].mean() for down in (1, -1) for across in (1, -1)]
    large = height > 0.6 * grey.shape[0] and width > 0.6 * grey.shape[1]
    if not large or min(corners) < 0.5 or (ndimage.binary_fill_holes(paper) == paper).all():
        return grey
    margin = max(2, min(height, width) // 30)  # the edge is never quite straight
    return grey[place][margin:-margin, margin:-margin]


def travelled(line: np.ndarray) -> np.ndarray:
    """Return how far the pen has come at each point of a stroke (k, 2), float (k,), 0 at the first."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])


def interpolated(places: np.ndarray, distances: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the points (n, 2) of a stroke (k, 2) at some places, of what its points have `travelled`."""
    return np.column_stack([np.interp(places, distances, line[:, axis]) for axis in (0, 1)])


def pieces(starts: np.ndarray, along: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut straight pieces, from starts (s, 2) along (s, 2), into equal ones that are no longer than that."""
    parts = np.maximum(np.ceil(np.hypot(*along.T) / longest), 1).astype(int)
    if parts.max() == 1:
        return starts, along
    along = np.repeat(along / parts[:, None], parts, axis=0)
    before = np.arange(len(along)) - np.repeat(np.cumsum(parts) - parts, parts)
    return np.repeat(starts, parts, axis=0) + along * before[:, None], along


def _segments(lines: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end points (s, 2) of the straight pieces; a dot is a piece without length."""
    starts, ends = [], []
    for line in lines:
        # Steps far below a pixel change nothing, and who draws slowly makes thousands of them.
        _, kept = np.unique(np.floor(travelled(line) / 0.2), return_index=True)
        line = line[np.union1d(kept, [len(line) - 1])]
        starts.append(line[:-1] if len(line) > 1 else line)
        ends.append(line[1:] if len(line) > 1 else line)
    return np.concatenate(starts), np.concatenate(ends)


def _ink(starts: np.ndarray, ends: np.ndarray, pen: float) -> np.ndarray:
    """Return the ink, (28, 28), 0 to 1, of a round pen along the pieces; its edge fades over one pixel."""
    # Cut into short pieces, each reaches only a few pixels: what is drawn stays cheap while it grows.
    starts, along = pieces(starts, ends - starts, 1)
    reach = pen / 2 + 0.5
    first = np.ceil(np.minimum(starts, starts + along) - reach - 0.5).astype(int)
    column, row = (first[:, axis, None] + np.arange(int(2 * reach) + 2) for axis in (0, 1))
    dx, dy = (column + 0.5 - starts[:, :1])[:, None, :], (row + 0.5 - starts[:, 1:])[:, :, None]
    across, down = along[:, 0, None, None], along[:, 1, None, None]
    part = np.clip((dx * across + dy * down) / np.maximum(across**2 + down**2, 1e-12), 0, 1)
    distance = (dx - part * across) ** 2 + (dy - part * down) ** 2
    # Pixels beyond the image's edge are collected in a last row and column.
    place = np.where((row >= 0) & (row < SIDE), row, SIDE)[:, :, None] * (SIDE + 1)
    place = place + np.where((column >= 0) & (column < SIDE), column, SIDE)[:, None, :]
    nearest = np.full((SIDE + 1) ** 2, np.inf)
    np.minimum.at(nearest, place.ravel(), distance.ravel())
    return np.clip(reach - np.sqrt(nearest.reshape(SIDE + 1, -1)[:SIDE, :SIDE]), 0, 1)


def _centre_of_mass(ink: np.ndarray) -> np.ndarray:
    """Return x and y of the ink's centre, in pixels from the upper left corner."""
    total = ink.sum()
    return np.array([(ink.sum(axis=0) * _CENTRES).sum(), (ink.sum(axis=1) * _CENTRES).sum()]) / total
