"""Change images at random, each within what a person's hand does.

    python -m toolkit.augment [--strength 1] [--output augmentation.png]    # originals beside their variants

The result depends on the images and the generator alone. A new augmentation is one function
`change(batch, draw, size)` and one entry in `AUGMENTATIONS`. It changes `batch.images`, or it adds to the
geometry of the batch. All geometry is one resampling at the end.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Collection, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import commandline, datasets
from toolkit.config import known
from toolkit.files import InputError, check_writable, write_safely

import numpy as np

if TYPE_CHECKING:
    import torch

EDGE = 1.4  # contrast that undoes the blur of one resampling
ELASTIC_GRID = 5  # control points a side: enough to bend whole strokes, too few to make them tremble
MOST_BLOTTED = 0.12  # of the digit's ink, chosen by eye: more filled whole 0s, 3s, 6s and 8s
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pdf")


class Draw:
    """The random numbers of one augmentation: a stream of its own, so that leaving one out changes no other.

    Numbers are drawn on the CPU, so that a seed gives the same variants on every device.
    """

    def __init__(self, seed: int, name: str, count: int, device: torch.device) -> None:
        import torch

        self.seed, self.count, self.device = seed, count, device
        self.generator = torch.Generator().manual_seed(seed ^ zlib.crc32(name.encode()))

    def between(self, low: float, high: float, count: int | None = None) -> torch.Tensor:
        """Draw uniform numbers, float (count,): by default one for each image."""
        import torch

        numbers = torch.rand(self.count if count is None else count, generator=self.generator)
        return (low + (high - low) * numbers).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw standard normal numbers of a shape for each image, float (n, *shape)."""
        import torch

        return torch.randn(self.count, *shape, generator=self.generator).to(self.device)

    def some(self, probability: float) -> torch.Tensor:
        """Pick images with a probability; return their indices."""
        import torch

        picked = torch.rand(self.count, generator=self.generator) < probability
        return torch.nonzero(picked).squeeze(1).to(self.device)


class Batch:
    """Images on their way to becoming variants.

    Attributes
    ----------
    images : float (n, 1, 28, 28), 0 paper to 1 ink; a copy of the caller's.
    matrix : float (n, 3, 3), from a place in the variant to one in the original, in pixels from the middle.
    bend : float (n, 28, 28, 2), how much farther each place lies, in pixels; broadcast.
    """

    def __init__(self, images: torch.Tensor) -> None:
        import torch

        self.images = images.clone()
        self.matrix = torch.eye(3, device=images.device).repeat(len(images), 1, 1)
        self.bend = torch.zeros(1, 1, 1, 2, device=images.device)

    def transform(self, *rows: Sequence[torch.Tensor | float]) -> None:
        """Add an affine map, from a place in the variant to one in the original, to the geometry.

        The two rows are (a, b, shift in pixels). An entry is a number, or (n,), one per image.
        """
        import torch

        step = torch.zeros_like(self.matrix)
        step[:, 2, 2] = 1
        for i, row in enumerate(rows):
            for j, entry in enumerate(row):
                step[:, i, j] = entry
        self.matrix = torch.bmm(self.matrix, step)

    def variants(self) -> torch.Tensor:
        """Resample the images along the geometry, once; return float (n, 1, 28, 28)."""
        import torch.nn.functional as F

        matrix = self.matrix[:, :2].clone()
        matrix[:, :, 2:] /= 14  # half of the image is 1 in PyTorch's coordinates
        grid = F.affine_grid(matrix, list(self.images.shape), align_corners=False)
        grid = (grid + self.bend / 14).to(self.images.dtype)
        resampled = F.grid_sample(self.images, grid, padding_mode="zeros", align_corners=False)
        # Resampling blurs; the edge of real ink is about a pixel wide.
        return ((resampled - 0.5) * EDGE + 0.5).clamp(0, 1)


def translation(batch: Batch, draw: Draw, size: float) -> None:
    """Move by up to `size` pixels to each side."""
    batch.transform((1, 0, draw.between(-size, size)), (0, 1, draw.between(-size, size)))


def scale(batch: Batch, draw: Draw, size: float) -> None:
    """Enlarge or shrink; `size` is a natural logarithm."""
    factor = draw.between(-size, size).exp()
    batch.transform((factor, 0, 0), (0, factor, 0))


def stretch(batch: Batch, draw: Draw, size: float) -> None:
    """Widen or narrow: people draw narrower digits on a screen. `size` is ln(width / height)."""
    factor = (draw.between(-size, size) / 2).exp()
    batch.transform((factor, 0, 0), (0, 1 / factor, 0))


def shear(batch: Batch, draw: Draw, size: float) -> None:
    """Slant, as hands do, by up to `size` horizontal pixels per vertical pixel."""
    batch.transform((1, draw.between(-size, size), 0), (0, 1, 0))


def rotation(batch: Batch, draw: Draw, size: float) -> None:
    """Turn by up to `size` degrees to each side."""
    angle = draw.between(-size, size).deg2rad()
    batch.transform((angle.cos(), -angle.sin(), 0), (angle.sin(), angle.cos(), 0))


def elastic(batch: Batch, draw: Draw, size: float) -> None:
    """Bend by a smooth displacement whose standard deviation is `size` pixels.

    P. Simard, D. Steinkraus, J. Platt: Best practices for convolutional neural networks, ICDAR 2003.
    """
    import torch
    import torch.nn.functional as F

    control = draw.normal(2, ELASTIC_GRID, ELASTIC_GRID) * size
    # Interpolation is linear in the control points: two matrix products are faster than `interpolate` itself.
    points = torch.eye(ELASTIC_GRID, device=control.device)[None, :, :, None]
    weights = F.interpolate(points, size=(28, 1), mode="bicubic", align_corners=True)[0, :, :, 0]
    batch.bend = batch.bend + (weights.T @ control @ weights).permute(0, 2, 3, 1)


def blot(batch: Batch, draw: Draw, size: float) -> None:
    """Fill narrow gaps or small loops with ink, as a thick pen does, with probability `size`.

    A digit that this would give more than `MOST_BLOTTED` of its ink stays as it is: it would become a patch.
    """
    import torch

    rows = draw.some(size)
    loops = draw.between(0, 1, len(rows)) < 0.35
    images = batch.images[rows]
    filled = _close(images, 1)
    filled[loops] = torch.minimum(_close(images[loops], 2), _enclosed(images[loops])).maximum(filled[loops])
    # No light grey: a gap fills or stays open.
    filled = torch.where(filled > 0.5, filled, images)
    ink, more = images.sum(dim=(1, 2, 3)), (filled - images).sum(dim=(1, 2, 3))
    small = (more <= MOST_BLOTTED * ink).view(-1, 1, 1, 1)
    batch.images[rows] = torch.where(small, filled, images)


def thickness(batch: Batch, draw: Draw, size: float) -> None:
    """Write with a thicker or thinner pen: at 1 two pixels wider, at -1 one pixel narrower."""
    images, amount = batch.images, draw.between(-size, size).clamp(-2, 1).view(-1, 1, 1, 1)
    thicker, thinner = amount.clamp(min=0), amount.clamp(max=0) / 2
    batch.images = images + thicker * (_grow(images, 1) - images) + thinner * (images + _grow(-images, 1))


def _close(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Fill gaps of up to twice `reach` pixels, and leave strokes as wide as they are."""
    return -_grow(-_grow(images, reach), reach)


def _enclosed(images: torch.Tensor) -> torch.Tensor:
    """The least of the darkest ink to the left, to the right, above and below: dark inside of loops."""
    import torch

    sides = [images.cummax(dim=dim).values for dim in (2, 3)]
    sides += [images.flip(dim).cummax(dim=dim).values.flip(dim) for dim in (2, 3)]
    return torch.stack(sides).amin(dim=0)


def _grow(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Take the maximum over the square of `reach` pixels to each side; beyond the image there is nothing.

    The same as max_pool2d with a stride of 1, and several times as fast on a CPU.
    """
    import torch
    import torch.nn.functional as F

    images = F.pad(images, [reach] * 4, value=-torch.inf)
    for dim in (2, 3):
        images = reduce(torch.maximum, [images.narrow(dim, first, 28) for first in range(2 * reach + 1)])
    return images


# Each with its size at strength 1, chosen by eye on the sheet and on the validation split. They apply in this
# order. The maps lead from the variant to the original, so to the eye the last one comes first.
AUGMENTATIONS: dict[str, tuple[Callable[[Batch, Draw, float], None], float]] = {
    "translation": (translation, 1.5),
    "scale": (scale, 0.1),
    "stretch": (stretch, 0.15),
    "shear": (shear, 0.18),
    "rotation": (rotation, 9.0),
    "elastic": (elastic, 0.5),
    "blot": (blot, 0.2),
    "thickness": (thickness, 0.5),
}
RANGES = {name: size for name, (_, size) in AUGMENTATIONS.items()}


def augment(
    images: torch.Tensor,
    generator: torch.Generator,
    *,
    strength: float = 1.0,
    parts: Collection[str] = tuple(AUGMENTATIONS),
) -> torch.Tensor:
    """Return one random variant of each image, float (n, 1, 28, 28), 0 to 1.

    Parameters
    ----------
    images : float (n, 1, 28, 28), 0 paper to 1 ink, on any device.
    generator : on the CPU.
    strength : multiplies every size; 0 changes nothing.
    parts : the augmentations to apply, keys of `AUGMENTATIONS`.

    Raises InputError for an unknown part, or for a strength that is negative or not finite.
    """
    import torch

    _check(strength, parts)
    if strength == 0 or not parts:
        return images
    batch = Batch(images)
    seed = int(torch.randint(2**32, (1,), generator=generator))
    for name, (change, size) in AUGMENTATIONS.items():
        if name in parts:
            change(batch, Draw(seed, name, len(images), images.device), strength * size)
    return batch.variants()


def variants(images: np.ndarray, seed: list[int], strength: float, parts: str = "all") -> np.ndarray:
    """Return one random variant of each image, uint8 (n, 28, 28), for models that are not PyTorch's.

    Parameters
    ----------
    images : uint8 (n, 28, 28), 0 paper, 255 ink.
    seed : numbers that together seed the variants.
    strength, parts : as in `augment`.
    """
    import torch

    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    changed = [
        augment(batch.unsqueeze(1) / 255, generator, strength=strength, parts=parts_of(parts))
        for batch in torch.tensor(images).split(1000)
    ]
    return torch.cat(changed).squeeze(1).mul(255).round().byte().numpy()


def parts_of(text: str) -> tuple[str, ...]:
    """Split the names of augmentations at commas, as `--augment-parts` gives them; "all" is every one."""
    if text == "all":
        return tuple(AUGMENTATIONS)
    return tuple(
        known("augmentation", part.strip(), AUGMENTATIONS) for part in text.split(",") if part.strip()
    )


def _check(strength: float, parts: Collection[str]) -> None:
    for part in parts:
        known("augmentation", part, AUGMENTATIONS)
    if not 0 <= strength < math.inf:
        raise InputError(f"wanted a strength of augmentation from 0; got {strength}.")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--strength", type=float, default=1.0, help="of the augmentation")
    parser.add_argument("--parts", default="all", help=f"with commas, any of {', '.join(AUGMENTATIONS)}")
    parser.add_argument("--output", default="augmentation.png", metavar="FILE", help="the sheet, a picture")
    parser.add_argument("--seed", type=commandline.seed, default=0, help="of the variants")
    datasets.add_flags(parser)
    arguments = parser.parse_args(argv)
    parts = parts_of(arguments.parts)
    _check(arguments.strength, parts)
    check_writable(arguments.output, PICTURES)
    suffix = Path(arguments.output).suffix.lower()

    import torch
    import torch.nn.functional as F
    from PIL import Image

    train_set = datasets.load("train", dataset=arguments.dataset, data=arguments.data, limit=arguments.limit)
    generator = torch.Generator().manual_seed(arguments.seed)
    # Two rows a digit: the sheet shows every class.
    rows = [index for digit in range(10) for index in np.flatnonzero(train_set.labels == digit)[:2]]
    originals = torch.from_numpy(train_set.images[rows]).float().div(255).unsqueeze(1)
    vary = partial(augment, originals, generator, strength=arguments.strength, parts=parts)
    columns = [originals, *(vary() for _ in range(15))]
    sheet = torch.cat([F.pad(column, (1, 1, 1, 1), value=0.12) for column in columns], dim=3)
    sheet[..., 30:33] = 0.5  # a line between the originals and their variants
    image = Image.fromarray(255 - sheet.flatten(0, 2).mul(255).round().byte().numpy())
    content = io.BytesIO()
    large = image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST)
    large.save(content, Image.registered_extensions()[suffix])
    write_safely(arguments.output, content.getvalue())
    print(f"{arguments.output}: originals in the first column, 15 variants beside each")


if __name__ == "__main__":
    commandline.run(main)
