"""Train the neural network.

python train_ann.py                      # trained/ann.safetensors, and a record in runs/
python train_ann.py --augment            # with random variants of the images in every epoch
python train_ann.py --fast               # a first look, in half a minute
python train_ann.py --resume runs/DIR    # go on after a kill or Ctrl-C
python train_ann.py --from trained/ann.safetensors --drawings captured/corrections.npz    # fine-tune it
python train_ann.py --undo               # take that back
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ann
from classifier import InputError, option
from toolkit import commandline, finetuning, training
from toolkit.training import WATCHED

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.datasets import ImageSet
    from toolkit.tracking import Run

    import numpy as np
    import torch


@dataclass(frozen=True)
class Config(training.Augmented, ann.Config):
    """What the network looks like, and how it is trained."""

    optimizer: str = option(
        "AdamW", "updates the weights", choices=("SGD", "RMSprop", "Adam", "NAdam", "AdamW")
    )
    learning_rate: float = option(0.008, "the schedule's highest", low=1e-8, high=100)
    momentum: float = option(0.9, "of SGD and RMSprop", low=0, high=0.9999)
    weight_decay: float = option(0.01, "decoupled for AdamW, else added to the gradient", low=0, high=10)
    schedule: str = option(
        "one-cycle",
        "of the learning rate; step: a tenth at 60 % and at 85 %",
        choices=("one-cycle", "cosine", "step", "constant"),
    )
    batch_size: int = option(128, "images per step", low=2, high=60_000)
    epochs: int = option(12, "passes over the training split", low=1, high=10_000)
    loss: str = option(
        "cross-entropy",
        "margin: multi-class; mse: of probabilities to one-hot targets",
        choices=("cross-entropy", "margin", "mse"),
    )
    label_smoothing: float = option(
        0.05, "share of the target spread over all classes; cross-entropy only", low=0, high=0.9
    )
    device: str = option("auto", "where to train", choices=("auto", "cpu", "cuda", "mps"))


FAST = {"conv_channels": (16, 32, 64), "epochs": 2}
# A quick network misread 126 drawings of 6 writers that it did not know. After 30 corrections of each it
# misread 45; with a learning rate of 0.003, 45; of 0.0003, 44; of 0.0001, 66.
FINE = {"epochs": 2, "learning_rate": 0.001, "schedule": "cosine"}
# Of the way to the fine-tuned weights: the largest of 0.4, 0.5, ... that costs less than one more error among
# the 6,000 validation images (mean over 6 writers and 3 seeds; all of the way costs 3.7).
STEP = 0.6


def train(
    train_set: ImageSet,
    validation_set: ImageSet | None,
    config: Config,
    *,
    seed: int,
    run: Run,
    start: ann.ANN | None = None,
) -> tuple[ann.ANN, dict[str, Any]]:
    """Train a network.

    Parameters
    ----------
    train_set, validation_set : images to train on, and to measure on after every epoch (None: not measured).
    config : the network and its training.
    seed : of the first weights, the order of the images, dropout and augmentation.
    run : logs the epochs. If its folder has a checkpoint, training goes on from there.
    start : has the first weights; with it nothing is measured.

    Returns
    -------
    The network, and its metrics on the validation split (`evaluate`), with epochs and train_seconds.

    Raises
    ------
    Diverged : the loss became infinite or NaN.
    InputError : a device that this machine does not have.
    """
    import torch

    device, bfloat16 = pick_device(config)
    if len(train_set) < 2:
        raise InputError("wanted at least 2 images to train on: batch normalisation compares them.")
    torch.manual_seed(seed)
    model = copy.deepcopy(start) or ann.ANN(**config.part(ann.Config).values())
    network = model.network.to(device).to(memory_format=torch.channels_last)
    optimizer = _optimizer(network, config)
    images = ann.to_tensor(train_set.images).to(device)
    labels = torch.from_numpy(train_set.labels).to(device)
    checkpoint = training.Checkpoint(run, config, seed)
    first, elapsed, state = checkpoint.restore(_state_after_a_step(network, config))
    _set_state(network, optimizer, state)

    for epoch in range(first, config.epochs + 1):
        started = time.perf_counter()
        # Every epoch has its own seed, so that a resumed run goes on as if it had not stopped.
        generator = torch.Generator().manual_seed(seed * 10_007 + epoch)
        torch.manual_seed(seed * 10_007 + epoch)
        running = _train_epoch(network, optimizer, images, labels, config, epoch, generator, bfloat16, run)
        measured = {"running_loss": running[0], "running_accuracy": running[1]}
        if start is None:
            measured |= _measured(model, {"train": train_set, "val": validation_set}, bfloat16)
        elapsed += time.perf_counter() - started
        measured |= {"learning_rate": optimizer.param_groups[0]["lr"], "seconds": elapsed}
        run.log(epoch, measured, model)
        checkpoint.write(_state(network, optimizer), epoch, elapsed)

    network.to("cpu").to(memory_format=torch.contiguous_format).eval()
    metrics = training.validate(validation_set, model)
    return model, {**metrics, "epochs": config.epochs, "train_seconds": elapsed}


def _train_epoch(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    config: Config,
    epoch: int,
    generator: torch.Generator,
    bfloat16: bool,
    run: Run,
) -> tuple[float, float]:
    """Train for one epoch. Returns the mean loss and the accuracy over its steps."""
    from toolkit.augment import augment, parts_of

    import torch

    batch_size, parts = config.batch_size, parts_of(config.augment_parts)
    steps = max(1, len(images) // batch_size)
    order = torch.randperm(len(images), generator=generator)
    total = torch.zeros(2, device=images.device)  # sums of the loss and of right answers
    network.train()
    bar = run.progress(range(steps), f"epoch {epoch}/{config.epochs}")
    for step in bar:
        progress = (epoch - 1 + step / steps) / config.epochs
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate(config.schedule, progress)
        chosen = order[step * batch_size : (step + 1) * batch_size].to(images.device)
        truth = labels[chosen]
        batch = augment(images[chosen], generator, strength=config.augment, parts=parts)
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            logits = network(batch.contiguous(memory_format=torch.channels_last))
        loss = _loss(config, logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            right = (logits.argmax(1) == truth).sum()
            total += torch.stack([loss.detach() * len(chosen), right.float()])
        if step % 20 == 19:  # reading the numbers makes a GPU wait
            mean_loss, accuracy = (total / ((step + 1) * batch_size)).tolist()
            bar.set_postfix(loss=f"{mean_loss:.4f}", accuracy=f"{accuracy:.2%}")
    if not torch.isfinite(total[0]):
        raise training.Diverged(epoch)
    mean_loss, accuracy = (total / (steps * min(batch_size, len(images)))).tolist()
    return mean_loss, accuracy


def _measured(model: ann.ANN, parts: dict[str, ImageSet | None], bfloat16: bool) -> dict[str, float]:
    """Return cross entropy and accuracy on the first images of each split that there is."""
    import torch
    import torch.nn.functional as F

    device = next(model.network.parameters()).device
    measured = {}
    for split, part in parts.items():
        if part is not None:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
                logits = model.logits(ann.to_tensor(part.images[:WATCHED])).cpu()
            truth = torch.from_numpy(part.labels[:WATCHED])
            measured[f"{split}_loss"] = F.cross_entropy(logits, truth).item()
            measured[f"{split}_accuracy"] = (logits.argmax(1) == truth).float().mean().item()
    return measured


def pick_device(config: Config) -> tuple[torch.device, bool]:
    """Return the device to train on, and whether bfloat16 trains faster than float32 there.

    Raises InputError for a device that this machine does not have.
    """
    import torch

    name = config.device
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    elif not there[name]:
        raise InputError(f"there is no {name} device here; leave --device out or say --device cpu.")
    if name == "cuda":
        return torch.device(name), torch.cuda.is_bf16_supported(including_emulation=False)
    # Of all processors, only those with AMX are faster in bfloat16. Asked, not timed: the same machine
    # always trains the same network.
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    return torch.device(name), name == "cpu" and has_amx


def _optimizer(network: torch.nn.Module, config: Config) -> torch.optim.Optimizer:
    import torch

    arguments = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer in ("SGD", "RMSprop"):
        arguments["momentum"] = config.momentum
    if config.optimizer == "SGD":
        arguments["nesterov"] = config.momentum > 0
    return getattr(torch.optim, config.optimizer)(network.parameters(), **arguments)


def _state(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Return everything that a training needs to go on, as arrays."""
    import torch

    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        # SGD without momentum keeps an empty buffer.
        entries = {name: value for name, value in entries.items() if value is not None}
        tensors.update(
            {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in entries.items()}
        )
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _state_after_a_step(network: torch.nn.Module, config: Config) -> dict[str, np.ndarray]:
    """Return what `_state` returns once the optimizer has made its buffers, which the first step does."""
    import torch

    network = copy.deepcopy(network)
    optimizer = _optimizer(network, config)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return _state(network, optimizer)


def _set_state(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, arrays: dict[str, np.ndarray]
) -> None:
    """Take over what `_state` returned; nothing at the start of a training."""
    import torch

    if not arrays:
        return
    network_state: dict[str, Any] = {}
    optimizer_state: dict[int, dict[str, Any]] = {}
    for name, array in arrays.items():
        part, _, rest = name.partition("/")
        tensor = torch.from_numpy(array.copy())
        if part == "network":
            network_state[rest] = tensor
        else:
            index, _, entry = rest.partition("/")
            optimizer_state.setdefault(int(index), {})[entry] = tensor
    network.load_state_dict(network_state)
    optimizer.load_state_dict(
        {"state": optimizer_state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _rate(schedule: str, progress: float) -> float:
    """Return the learning rate, as a share of the highest, after `progress` (0 to 1) of the training."""
    import math

    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 1.0 if progress < 0.6 else 0.1 if progress < 0.85 else 0.01
    if schedule == "one-cycle" and progress < 0.2:
        # L. Smith, N. Topin: Super-convergence, 2018. Here the rate rises linearly for a fifth of the way.
        return 0.04 + 0.96 * progress / 0.2
    falling = (progress - 0.2) / 0.8 if schedule == "one-cycle" else progress
    return 0.5 * (1 + math.cos(math.pi * falling))


def _loss(config: Config, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the loss, a mean over the batch, of logits (n, 10) and labels (n,)."""
    import torch
    import torch.nn.functional as F

    if config.loss == "cross-entropy":
        return F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    if config.loss == "margin":
        return F.multi_margin_loss(logits, labels)
    return F.mse_loss(torch.softmax(logits, dim=1), F.one_hot(labels, 10).to(logits.dtype))


def fine_config(path: Path) -> dict[str, Any]:
    """Return the configuration that fine-tunes a model file: its own, with small steps."""
    old = ann.ANN.load(path)
    return {**old.trained_on.get("config", {}), **old.config.values(), **FINE}


def finetune(job: training.Job[Config], old: ann.ANN) -> None:
    """Train a model on corrections, and let the result replace it if that harms nothing."""
    data = finetuning.load(job, old)
    model = refined(old, data.train, job.config, seed=job.seed, quiet=job.quiet)
    finetuning.replace(job, data, old, model)


def refined(old: ann.ANN, train_set: ImageSet, config: Config, *, seed: int, quiet: bool = True) -> ann.ANN:
    """Return a model that was trained further, as calibrated as the old one."""
    from toolkit.tracking import Run

    temperature = finetuning.temperature(old)
    start = copy.deepcopy(old)
    start.divide_scores(1 / temperature)  # the scale that the loss was at home with
    run = Run("finetune-ann", {}, directory=False, quiet=quiet)
    model, _ = train(train_set, None, config, seed=seed, run=run, start=start)
    model.divide_scores(temperature)
    # Between both models lies one that keeps more of what the old one could (M. Wortsman and others: Robust
    # fine-tuning of zero-shot models, CVPR 2022).
    before, after = old.arrays(), model.arrays()
    model.set_arrays({name: before[name] + STEP * (after[name] - before[name]) for name in before})
    return model


def main(argv: list[str] | None = None) -> None:
    job = training.parse("ann", __doc__, Config, argv, fast=FAST, fine=fine_config, check=pick_device)
    if job.undo:
        return print(finetuning.undo(job.output))
    if job.base:
        return finetune(job, ann.ANN.load(job.base))
    data = training.load(job)
    with training.start(job) as run:
        model, metrics = train(data.train, data.validation, job.config, seed=job.seed, run=run)
        training.save(job, data, run, model, metrics)


if __name__ == "__main__":
    commandline.run(main)
