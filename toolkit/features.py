"""Features of images for the support vector machine: pixels, deslanted pixels, oriented gradients.

A feature is one function, images uint8 (n, 28, 28) to float32 (n, d), and one entry in `FEATURES`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

BATCH = 500  # images computed at once: bounds the memory, about 50 MB
GRIDS = (9, 5, 3)  # cells a side of each scale of the histograms of oriented gradients
ORIENTATIONS = 12  # signed: dark to light and light to dark are two


def extract(images: np.ndarray, name: str) -> np.ndarray:
    """Compute features, float32 (n, d), of images, uint8 (n, 28, 28), by their name in `FEATURES`."""
    parts = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
    return np.concatenate([FEATURES[name][0](part) for part in parts])


def pixels(images: np.ndarray) -> np.ndarray:
    """Return the pixels, float32 (n, 784), 0 to 1."""
    return images.reshape(len(images), 784).astype(np.float32) / 255


def deslant(images: np.ndarray) -> np.ndarray:
    """Centre images by their mass and take out their slant: float32 (n, 28, 28), 0 to 1.

    The slant is the covariance of x and y over the ink, divided by the variance of y (Y. LeCun and others:
    Gradient-based learning applied to document recognition, 1998, section III).
    """
    ink = images.astype(np.float32) / 255
    total = np.maximum(ink.sum(axis=(1, 2)), 1e-6)
    place = np.arange(28, dtype=np.float32)
    mean_x = (ink.sum(axis=1) @ place) / total
    mean_y = (ink.sum(axis=2) @ place) / total
    dx, dy = place - mean_x[:, None], place - mean_y[:, None]
    covariance = np.einsum("nyx,ny,nx->n", ink, dy, dx) / total
    variance = np.einsum("nyx,ny->n", ink, dy**2) / total
    slant = np.where(variance > 1e-3, covariance / np.maximum(variance, 1e-3), 0)
    # Each row moves sideways by its slant. Both moves are linear interpolations: first columns, then rows.
    shift_x = mean_x[:, None] - 13.5 + slant[:, None] * (place - 13.5)
    return _shift_rows(_shift_columns(ink, mean_y - 13.5), shift_x)


def _shift_columns(ink: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move every image (n, 28, 28) up by its shift (n,), in pixels."""
    turned = np.ascontiguousarray(ink.transpose(0, 2, 1))
    return np.ascontiguousarray(_shift_rows(turned, np.repeat(shift[:, None], 28, axis=1)).transpose(0, 2, 1))


def _shift_rows(ink: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move every row of (n, 28, 28) to the left by its shift (n, 28), with linear interpolation."""
    n = len(ink)
    whole = np.floor(shift)
    part = (shift - whole).astype(np.float32)[..., None]
    padded = np.zeros((n, 28, 28 + 58), np.float32)
    padded[:, :, 29:57] = ink
    # Beyond the margin is paper.
    left = np.clip(whole, -29, 28).astype(np.intp) + 29
    index = left[..., None] + np.arange(28)
    rows = np.take_along_axis(padded, index, axis=2)
    right = np.take_along_axis(padded, index + 1, axis=2)
    return rows + part * (right - rows)


def deslanted(images: np.ndarray) -> np.ndarray:
    """Return the pixels of the deslanted images, float32 (n, 784)."""
    return deslant(images).reshape(len(images), -1)


def _cell_weights(cells: int) -> np.ndarray:
    """Return how much each of 28 pixels counts for each cell, (cells, 28): less away from its middle."""
    size = 28 / cells
    middles = (np.arange(cells) + 0.5) * size
    return np.maximum(1 - np.abs(np.arange(28) + 0.5 - middles[:, None]) / size, 0).astype(np.float32)


_WEIGHTS = {cells: _cell_weights(cells) for cells in GRIDS}


def hog(images: np.ndarray) -> np.ndarray:
    """Compute histograms of oriented gradients of the deslanted images at three scales, float32 (n, 1380).

    After N. Dalal, B. Triggs: Histograms of oriented gradients for human detection, CVPR 2005. The grids
    have 9 x 9, 5 x 5 and 3 x 3 cells. Orientations are signed. Votes are linear between bins and between
    cells. Every cell is normalised by the energy of its 3 x 3 neighbourhood. The square root turns the
    scalar product into a similarity of distributions (R. Arandjelovic, A. Zisserman: Three things everyone
    should know to improve object retrieval, CVPR 2012). Each scale is brought to length 1.
    """
    ink = deslant(images)
    n = len(ink)
    gx, gy = np.zeros_like(ink), np.zeros_like(ink)
    gx[:, :, 1:-1] = ink[:, :, 2:] - ink[:, :, :-2]
    gy[:, 1:-1, :] = ink[:, 2:, :] - ink[:, :-2, :]
    strength = np.hypot(gx, gy)
    turn = np.arctan2(gy, gx) * (ORIENTATIONS / (2 * np.pi))
    lower = np.floor(turn)
    part = turn - lower
    lower = lower.astype(np.int8) % ORIENTATIONS
    maps = np.zeros((n, ORIENTATIONS, 28, 28), np.float32)
    for bin_ in range(ORIENTATIONS):
        maps[:, bin_] = strength * (
            (lower == bin_) * (1 - part) + ((lower + 1) % ORIENTATIONS == bin_) * part
        )
    scales = []
    for cells in GRIDS:
        weights = _WEIGHTS[cells]
        cell = weights @ (maps @ weights.T)  # (n, orientations, cells, cells)
        energy = np.pad((cell**2).sum(axis=1), ((0, 0), (1, 1), (1, 1)))
        around = sum(
            energy[:, y : y + cells, x : x + cells] for y, x in itertools.product(range(3), repeat=2)
        )
        cell = cell / np.sqrt(around + 0.1)[:, None]
        flat = np.sqrt(cell).reshape(n, -1)
        scales.append(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))
    return np.concatenate(scales, axis=1) / np.float32(np.sqrt(len(GRIDS)))


FEATURES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "pixels": (pixels, 784),
    "deslanted": (deslanted, 784),
    "hog": (hog, ORIENTATIONS * sum(cells * cells for cells in GRIDS)),
}
