"""A drawing, as strokes or as a picture, to a 28 x 28 image framed as MNIST frames its digits.

MNIST's digits fill a box of 20 x 20 pixels on one side, keep their proportions, stand with their
centre of mass in the middle of 28 x 28 pixels, and were written with a pen of about 2.5 of those
pixels (Y. LeCun, C. Cortes, C. Burges: The MNIST database, 1998). People draw elsewhere, smaller and
with other pens. Pure functions: no screen, no model, no randomness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDE = 28  # pixels of an image's side
BOX = 20.0  # pixels of the box that MNIST's digits fill
PEN = 2.6  # pen's width in pixels; chosen on the recorded drawings with is_test False

_CENTRES = np.arange(SIDE) + 0.5


def frame_strokes(strokes: Sequence[np.ndarray], *, pen: float = PEN, box: float = BOX) -> np.ndarray:
    """The image of a digit given as pen strokes, whatever its size and place.

    Parameters
    ----------
    strokes : one (k, 2) array of numbers a stroke, in any unit: x to the right, y downwards. A stroke
        of one point is a dot. Points that are not finite are left out.
    pen : the pen's width in pixels of the image.
    box : the longer side of the drawing, pen included, in pixels of the image.

    Returns
    -------
    uint8 (28, 28), 0 paper, 255 ink; all zeros where nothing is drawn.

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
    # The centre of mass is that of the ink, which only the rendered image knows.
    shift = SIDE / 2 - _centre_of_mass(ink)
    return np.rint(_ink(starts + shift, ends + shift, pen) * 255).astype(np.uint8)


def frame_picture(picture: np.ndarray, *, pen: float = PEN, box: float = BOX) -> np.ndarray:
    """The image of a digit given as a picture, whatever its size, place, polarity and pen.

    The pen of a picture is known only from its ink. The ink's outline is taken as a signed distance
    field, on which a stroke of any width becomes one of the width `pen`, by the same rule as strokes:
    the middle line of the pen fills the box less the pen's width.

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
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 2
        or not picture.size
    ):
        found = (
            f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        )
        raise ValueError(f"wanted a picture, uint8 (height, width); got {found}.")
    ink = _enlarged_ink(picture)
    if ink is None:
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    from scipy import ndimage

    solid = ink > 0.5
    depth = ndimage.distance_transform_edt(solid) - ndimage.distance_transform_edt(~solid)
    # Half a pixel each: both transforms measure to the middle of the nearest pixel of the other kind.
    depth -= np.where(solid, 0.5, -0.5)
    # A stroke of length l and width w has the area l w and an outline of about 2 l.
    outline = (
        np.abs(np.diff(solid.astype(np.int8), axis=0)).sum()
        + np.abs(np.diff(solid.astype(np.int8), axis=1)).sum()
    )
    # On a grid, slanting outlines count 4 / pi times their length, as a mean over all directions.
    width = 2 * solid.sum() / (outline * np.pi / 4)
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    low = np.array([columns[0], rows[0]], dtype=np.float64)
    high = np.array([columns[-1], rows[-1]], dtype=np.float64) + 1
    middle_line = (high - low).max() - width
    scale = (box - pen) / middle_line if middle_line > width / 2 else pen / width
    thinner = width * scale / 2 - pen / 2

    def render(centre: np.ndarray) -> np.ndarray:
        x, y = (centre[axis] - 0.5 + (_CENTRES - SIDE / 2) / scale for axis in (0, 1))
        there = ndimage.map_coordinates(depth, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
        return np.clip(there * scale - thinner + 0.5, 0, 1)

    centre = (low + high) / 2
    image = render(centre)
    if not image.any():
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    centre += (_centre_of_mass(image) - SIDE / 2) / scale
    return np.rint(render(centre) * 255).astype(np.uint8)


def _enlarged_ink(picture: np.ndarray) -> np.ndarray | None:
    """Ink 0 to 1 of a picture's digit, its longer side about 160 pixels, with a margin around it.

    None where there is no ink.
    """
    from PIL import Image
    from scipy import ndimage

    grey = picture.astype(np.float32)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = np.median(border)
    darker, lighter = paper - grey.min(), grey.max() - paper
    ink = (paper - grey) if darker > lighter else (grey - paper)
    strongest = ink.max()
    if strongest < 24:  # of 255: what is fainter is the paper's grain
        return None
    ink = np.clip(ink / strongest, 0, 1)
    # Specks of dust would move the box: only pieces with a real part of the ink count.
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
    enlarged = Image.fromarray(ink.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(enlarged)


def _segments(lines: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Start and end points (s, 2) of the straight pieces; a dot is a piece without length."""
    starts, ends = [], []
    for line in lines:
        # Steps far below a pixel change no pixel: whoever draws slowly sends thousands of them.
        travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        _, kept = np.unique(np.floor(travelled / 0.2), return_index=True)
        line = line[np.union1d(kept, [len(line) - 1])]
        starts.append(line[:-1] if len(line) > 1 else line)
        ends.append(line[1:] if len(line) > 1 else line)
    return np.concatenate(starts), np.concatenate(ends)


def _ink(starts: np.ndarray, ends: np.ndarray, pen: float) -> np.ndarray:
    """Ink (28, 28), 0 to 1, of a round pen along the pieces: full within, fading over one pixel."""
    nearest = np.full((SIDE, SIDE), np.inf)
    x, y = _CENTRES[None, :, None], _CENTRES[:, None, None]
    for first in range(0, len(starts), 256):  # 256 pieces at a time: 1.6 MB, whatever was drawn
        start, along = starts[first : first + 256], (ends - starts)[first : first + 256]
        square = np.maximum((along**2).sum(axis=1), 1e-12)
        dx, dy = x - start[:, 0], y - start[:, 1]
        part = np.clip((dx * along[:, 0] + dy * along[:, 1]) / square, 0, 1)
        distance = (dx - part * along[:, 0]) ** 2 + (dy - part * along[:, 1]) ** 2
        np.minimum(nearest, distance.min(axis=2), out=nearest)
    return np.clip(pen / 2 + 0.5 - np.sqrt(nearest), 0, 1)


def _centre_of_mass(ink: np.ndarray) -> np.ndarray:
    """x and y of the ink's centre, in pixels from the upper left corner."""
    total = ink.sum()
    return np.array([(ink.sum(axis=0) * _CENTRES).sum(), (ink.sum(axis=1) * _CENTRES).sum()]) / total
