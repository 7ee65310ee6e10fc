"""Train the detector, which says whether an image is a digit at all.

    python train_detector.py                 # trained/detector.safetensors
    python train_detector.py --epochs 2      # a first look

It learns from MNIST, from the drawings of the training writers, and from non-digits made of these
(`toolkit/nondigits.py`). With seed 0 it flags 1.5 % of MNIST's validation images and 0.9 % of the validation
drawings as no digit, and 88 to 100 % of each kind of non-digits (`bench/nondigits.py`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import detector
from classifier import ROOT, option
from toolkit import commandline, datasets, drawings, handwriting, nondigits, tracking, training
from toolkit.augment import augment
from toolkit.datasets import ImageSet
from toolkit.files import check_writable, versions

import numpy as np

if TYPE_CHECKING:
    from toolkit.drawings import Drawings
    from toolkit.tracking import Run

NO_DIGIT = 10  # the label of non-digits
STEPS = 400  # of an epoch


@dataclass(frozen=True)
class Config(detector.Config):
    """What the network looks like, and how it is trained."""

    learning_rate: float = option(0.005, "the highest of a one-cycle schedule", low=1e-8, high=100)
    weight_decay: float = option(0.01, "of AdamW", low=0, high=10)
    batch_size: int = option(128, "images per step, half of them non-digits", low=8, high=60_000)
    epochs: int = option(14, f"rounds of {STEPS} steps", low=1, high=10_000)
    augment: float = option(1.0, "strength of the augmentation", low=0, high=10)
    copies: int = option(2, "variants of each drawing by other hands", low=0, high=100)
    nondigits: int = option(1500, "how many to make of each kind", low=1, high=100_000)
    flagged: float = option(0.015, "share of the validation digits that may count as none", low=0, high=0.99)


def train(
    mnist: ImageSet, drawn: ImageSet, others: np.ndarray, config: Config, *, seed: int, run: Run
) -> detector.Detector:
    """Train a detector, whose threshold is not fitted yet.

    Parameters
    ----------
    mnist, drawn : images of digits.
    others : images of none, uint8 (n, 28, 28).
    config : the network and its training.
    seed : of the first weights, the choice of images and their variants.
    run : logs the epochs.

    Raises
    ------
    Diverged : the loss became infinite or NaN.
    """
    import torch
    import torch.nn.functional as F

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = detector.Detector(**config.part(detector.Config).values())
    optimizer = torch.optim.AdamW(model.network.parameters(), weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.epochs * STEPS, pct_start=0.2, cycle_momentum=False
    )
    images = torch.from_numpy(np.concatenate([mnist.images, drawn.images, others]))
    labels = torch.from_numpy(np.concatenate([mnist.labels, drawn.labels, np.full(len(others), NO_DIGIT)]))
    # Of ten images three are from MNIST, two are drawings and five are non-digits.
    shares = [np.full(len(part), share / len(part)) for part, share in ((mnist, 3), (drawn, 2), (others, 5))]
    chances = torch.from_numpy(np.concatenate(shares))

    for epoch in range(1, config.epochs + 1):
        started, total = time.perf_counter(), 0.0
        model.network.train()
        for _ in run.progress(range(STEPS), f"epoch {epoch}/{config.epochs}"):
            chosen = torch.multinomial(chances, config.batch_size, replacement=True, generator=generator)
            batch, truth = images[chosen].unsqueeze(1).float() / 255, labels[chosen]
            logits = model.network(augment(batch, generator, strength=config.augment))
            loss = F.cross_entropy(F.pad(logits, (0, 1)), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if not math.isfinite(total):
            raise training.Diverged(epoch)
        run.log(epoch, {"running_loss": total / STEPS, "seconds": time.perf_counter() - started})
    model.network.eval()
    return model


def make_digits(drawn: Drawings, config: Config, rng: np.random.Generator) -> ImageSet:
    """Return the images of drawings, and variants of them by other hands."""
    images = [drawings.framed(drawn), *(handwriting.variants(drawn, rng) for _ in range(config.copies))]
    return ImageSet(np.concatenate(images), np.tile(drawn.labels, len(images)), "drawings")


def make_others(drawn: Drawings, mnist: ImageSet, config: Config, rng: np.random.Generator) -> np.ndarray:
    """Make non-digits of every kind to train on, and turn as many digits of MNIST."""
    recorded, count = nondigits.by_digit(drawn), config.nondigits
    kinds = [name for name, kind in nondigits.KINDS.items() if not kind.unseen]
    made = [nondigits.images(name, recorded, count, rng, varied=True) for name in kinds]
    # Without any that look like MNIST, its look alone would make a digit.
    turned = mnist.images[np.isin(mnist.labels, nondigits.TURNED)][: 2 * count]
    return np.concatenate([*made, np.rot90(turned[::2], 1, (1, 2)), np.rot90(turned[1::2], 3, (1, 2))])


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    datasets.add_flags(parser)
    add = parser.add_argument
    add("--drawings", metavar="SET", default="pendigits", help=drawings.HELP)
    add("--seed", type=commandline.seed, default=0, help="of everything random")
    add("--output", metavar="FILE", help="the model file (default: trained/detector.safetensors)")
    add("--quiet", action="store_true", help="print errors only")
    commandline.add_config_flags(parser, Config)
    arguments = parser.parse_args(argv)
    config = Config.read(commandline.given(arguments, Config))
    output = Path(arguments.output or ROOT / "trained" / "detector.safetensors")
    check_writable(output)

    where = {"dataset": arguments.dataset, "data": arguments.data, "limit": arguments.limit}
    mnist, held_out = datasets.load("train", **where), datasets.load("validation", **where)
    drawn = drawings.load(arguments.drawings, "train")
    held_out_drawn = drawings.load_drawn(arguments.drawings, "validation")
    asked = {**where, "drawings": arguments.drawings, "seed": arguments.seed, "config": config.values()}
    with tracking.Run("train-detector", asked, quiet=arguments.quiet) as run:
        started, rng = time.perf_counter(), np.random.default_rng(arguments.seed)
        digits, others = make_digits(drawn, config, rng), make_others(drawn, mnist, config, rng)
        model = train(mnist, digits, others, config, seed=arguments.seed, run=run)
        model.calibrate([held_out.images, held_out_drawn.images], config.flagged)
        flagged = {part.name: model.flagged(part.images) for part in (held_out, held_out_drawn)}
        model.metrics = {"flagged": flagged, "train_seconds": time.perf_counter() - started}
        model.trained_on = {
            "images": f"{mnist.name} + {arguments.drawings}",
            "count": len(mnist) + len(drawn),
            "seed": arguments.seed,
            "config": config.values(),
            "versions": versions("numpy", "torch"),
        }
        run.finish(model.metrics)
        model.save(output)
    if not arguments.quiet:
        shares = ", ".join(f"{share:.2%} of {name}" for name, share in flagged.items())
        print(f"Flagged as no digit: {shares}\nModel: {commandline.shown(output)}")


if __name__ == "__main__":
    commandline.run(main)
