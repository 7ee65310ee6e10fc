"""Augmented training images a second, against torchvision's per-image RandomAffine in a DataLoader."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import first_model
from measuring import Settings, spread, table, write_mnist

TITLE = "Augmented training images a second"
MINUTES = 2
BATCH = 128
WARM_UP = 3  # batches before the clock starts: workers start, caches fill
OURS, WORKERS = "ours", (0, 2)


def our_batches(settings: Settings) -> Iterator[Any]:
    """Augment batch by batch, as `train_ann.py --augment` does."""
    import ann
    from toolkit.augment import augment

    import torch

    part = settings.load("all")
    images, labels = ann.to_tensor(part.images), torch.from_numpy(part.labels)
    generator = torch.Generator().manual_seed(0)
    while True:
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            yield augment(images[chosen], generator), labels[chosen]


def their_batches(folder: str, workers: int) -> Iterator[Any]:
    """Augment image by image, by about as much as our place, size, slant and rotation."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    affine = transforms.RandomAffine(9, translate=(0.055, 0.055), scale=(0.9, 1.1), shear=10)
    transform = transforms.Compose([affine, transforms.ToTensor()])
    dataset = datasets.MNIST(folder, transform=transform)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers)
    while True:
        yield from loader


def rate(batches: Iterator[Any], network: Any, bfloat16: bool, steps: int) -> float:
    """Return the images a second of training steps; without a network, of the batches alone."""
    import torch
    import torch.nn.functional as F

    optimizer = torch.optim.AdamW(network.parameters()) if network else None
    count, started = 0, 0.0
    for number, (images, labels) in enumerate(itertools.islice(batches, WARM_UP + steps)):
        if number == WARM_UP:
            count, started = 0, time.perf_counter()
        count += len(images)
        if optimizer:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                logits = network(images.contiguous(memory_format=torch.channels_last))
            optimizer.zero_grad()
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
    return count / (time.perf_counter() - started)


def measure(settings: Settings) -> dict[str, Any]:
    """Let all ways of feeding take turns, for each network."""
    import train_ann
    from ann import build_network

    import torch

    configs = {"none": None, "quickest": first_model.config(99.0), "default": train_ann.Config()}
    result: dict[str, Any] = {"rates": {}}
    with tempfile.TemporaryDirectory() as folder:
        write_mnist(folder, settings)
        for name, config in configs.items():
            rates = result["rates"][name] = {OURS: [], **{str(workers): [] for workers in WORKERS}}
            for _ in range(settings.repeats):
                for way, own in rates.items():
                    torch.manual_seed(0)
                    network, bfloat16 = None, False
                    if config:
                        network = build_network(config).train().to(memory_format=torch.channels_last)
                        bfloat16 = train_ann.pick_device(config)[1]
                    batches = our_batches(settings) if way == OURS else their_batches(folder, int(way))
                    own.append(rate(batches, network, bfloat16, settings.steps))
            shown = ", ".join(f"{way}: {statistics.median(own):,.0f}" for way, own in rates.items())
            print(f"  network {name}: images a second, {shown}", flush=True)
    return result


def page(result: dict[str, Any]) -> str:
    """Write the result as Markdown."""
    rows = [["network", "ours", *(f"torchvision, {workers} workers" for workers in WORKERS), "ratio"]]
    for name, rates in result["rates"].items():
        best = max(statistics.median(rates[str(workers)]) for workers in WORKERS)
        cells = [spread(own, "") for own in rates.values()]
        rows.append([name, *cells, f"**{statistics.median(rates[OURS]) / best:.1f}**"])
    return f"""Images a second in whole training steps, in batches of {BATCH}. *none*: the augmentation alone.
*quickest*: the network of the first command above. *default*: that of `train_ann.py`. Ours is
`toolkit.augment` on a batch, with everything that `train_ann.py --augment` does. Theirs is torchvision's
`RandomAffine` (place, size, slant, rotation), image by image in a `DataLoader`. The faster number of workers
counts.

{table(*rows)}"""
