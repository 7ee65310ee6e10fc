"""Train the neural network.

python train_ann.py                      # trained/ann.safetensors, and a record in runs/
python train_ann.py --augment            # with random variants of the images in every epoch
python train_ann.py --fast               # a first look, in half a minute
python train_ann.py --resume runs/DIR    # go on after a kill or Ctrl-C
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from classifier import known
from toolkit import commandline, training

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ann import ANN
    from toolkit.datasets import ImageSet
    from toolkit.tracking import Run

OPTIONS: dict[str, tuple[Any, str]] = {
    # the network
    "conv_channels": ([24, 48, 96], "channels of each convolutional stage; '' for none"),
    "convs_per_stage": (2, "convolutions in each stage"),
    "kernel_size": (3, "side of the kernels in pixels, odd"),
    "pooling": ("max", "between stages: max, average, stride"),
    "head": ("flatten", "after the last stage: flatten, max, average (of each whole map)"),
    "hidden": ([], "units of each fully connected layer; '' for none"),
    "dropout": (0.0, "part of the units left out before each fully connected layer"),
    "batch_norm": (True, "batch normalisation after each layer"),
    "activation": ("ReLU", "ReLU, PReLU, LeakyReLU, ELU, GELU, SiLU, Tanh"),
    # its training
    "optimizer": ("AdamW", "SGD, RMSprop, Adam, NAdam, AdamW"),
    "learning_rate": (0.008, "the schedule's highest"),
    "momentum": (0.9, "of SGD and RMSprop"),
    "weight_decay": (0.01, "decoupled for AdamW, else added to the gradient"),
    "schedule": (
        "one-cycle",
        "of the learning rate: one-cycle, cosine, step (a tenth at 60 and 85 %%), constant",
    ),
    "batch_size": (128, "images a step"),
    "epochs": (16, "passes over the fitting split"),
    "loss": (
        "cross-entropy",
        "cross-entropy, margin (multi-class), mse (of probabilities to one-hot targets)",
    ),
    "label_smoothing": (0.05, "part of the target spread over all classes; cross-entropy only"),
    "augment": (0.0, "strength of the augmentation, 0 off; alone it means 1"),
    "augment_parts": ("all", "its changes, with commas: translation,scale,... as in toolkit/augment.py"),
    "device": ("auto", "auto, cpu, cuda, mps"),
}
CONFIG = {name: default for name, (default, _) in OPTIONS.items()}
NETWORK = tuple(OPTIONS)[: tuple(OPTIONS).index("optimizer")]
FAST = {"conv_channels": [16, 32, 64], "head": "max", "epochs": 2}

OPTIMIZERS = ("SGD", "RMSprop", "Adam", "NAdam", "AdamW")
LOSSES = ("cross-entropy", "margin", "mse")
SCHEDULES = ("one-cycle", "cosine", "step", "constant")
WATCHED = 6_000  # images of the fitting split whose loss is measured at every epoch, as many as chosen on


def train(
    train_set: ImageSet, validation_set: ImageSet | None, *, seed: int, run: Run, **config: Any
) -> tuple[ANN, dict[str, Any]]:
    """Train a network.

    Parameters
    ----------
    train_set, validation_set : images to fit, and to measure at every epoch (None: nothing is measured on).
    seed : of the first weights, the order of the images, dropout and augmentation.
    run : where epochs are logged; where it has a folder with a checkpoint, training goes on from that.
    config : what differs from `CONFIG`.

    Returns
    -------
    The network, on the CPU, and its metrics on `validation_set` ({} beside the times where that is None).

    Raises
    ------
    InputError : an unknown name or a value out of its range.
    """
    import torch
    import torch.nn.functional as F

    from ann import ANN, to_tensor
    from toolkit.augment import augment, parts_of
    from toolkit.evaluation import evaluate

    config = training.complete(CONFIG, config)
    _check(config)
    device, bfloat16 = _pick_device(config["device"])
    torch.manual_seed(seed)
    model = ANN(**{name: config[name] for name in NETWORK})
    network = model.network.to(device).to(memory_format=torch.channels_last)
    optimizer = _optimizer(network, config)
    images = to_tensor(train_set.images).to(device)
    labels = torch.from_numpy(train_set.labels).to(device)
    batch_size, epochs = config["batch_size"], config["epochs"]
    variety = {"strength": config["augment"], "parts": parts_of(config["augment_parts"])}
    steps = max(1, len(images) // batch_size)
    checkpoint = training.Checkpoint(run, config, seed)
    first, elapsed, state = checkpoint.restore()
    _set_state(network, optimizer, state)

    for epoch in range(first, epochs + 1):
        started = time.perf_counter()
        # Every epoch has its own seed, so that a resumed run goes on as if it had not stopped.
        generator = torch.Generator().manual_seed(seed * 10_007 + epoch)
        torch.manual_seed(seed * 10_007 + epoch)
        network.train()
        order = torch.randperm(len(images), generator=generator)
        total = torch.zeros(2, device=device)  # sums of loss and of right answers
        bar = run.progress(range(steps), f"epoch {epoch}/{epochs}")
        for step in bar:
            progress = (epoch - 1 + step / steps) / epochs
            for group in optimizer.param_groups:
                group["lr"] = config["learning_rate"] * _rate(config["schedule"], progress)
            chosen = order[step * batch_size : (step + 1) * batch_size].to(device)
            batch = augment(images[chosen], generator, labels=labels[chosen], **variety)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
                logits = network(batch.contiguous(memory_format=torch.channels_last))
            loss = _loss(config, logits.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                right = (logits.argmax(1) == labels[chosen]).sum()
                total += torch.stack([loss.detach() * len(chosen), right.float()])
            if step % 20 == 19:  # reading the numbers makes a GPU wait
                mean_loss, accuracy = (total / ((step + 1) * batch_size)).tolist()
                bar.set_postfix(loss=f"{mean_loss:.4f}", accuracy=f"{accuracy:.2%}")
        if not torch.isfinite(total[0]):
            raise training.Diverged(
                f"the loss is not finite at epoch {epoch}; try a smaller --learning-rate."
            )
        running_loss, running_accuracy = (total / (steps * min(batch_size, len(images)))).tolist()
        measured = {"running_loss": running_loss, "running_accuracy": running_accuracy}
        for split, part in (("train", train_set), ("val", validation_set)):
            if part is not None:
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
                    logits = model.logits(to_tensor(part.images[:WATCHED])).cpu()
                truth = torch.from_numpy(part.labels[:WATCHED])
                measured[f"{split}_loss"] = F.cross_entropy(logits, truth).item()
                measured[f"{split}_accuracy"] = (logits.argmax(1) == truth).float().mean().item()
        elapsed += time.perf_counter() - started
        checkpoint.write(_state(network, optimizer), epoch, elapsed)
        run.log(epoch, {**measured, "learning_rate": optimizer.param_groups[0]["lr"], "seconds": elapsed})

    network.to("cpu").to(memory_format=torch.contiguous_format).eval()
    metrics: dict[str, Any] = {}
    if validation_set is not None:
        metrics = evaluate(validation_set.labels, model.probabilities(validation_set.images))
        metrics["loss"] = metrics["log_loss"]
    return model, {**metrics, "epochs": epochs, "train_seconds": elapsed}


def _check(config: dict[str, Any]) -> None:
    """Names and ranges of what the network does not check itself."""
    known("optimizer", config["optimizer"], OPTIMIZERS)
    known("loss", config["loss"], LOSSES)
    known("schedule", config["schedule"], SCHEDULES)
    training.in_range(config, "learning_rate", 1e-8, 100)
    training.in_range(config, "momentum", 0, 0.9999)
    training.in_range(config, "weight_decay", 0, 10)
    training.in_range(config, "batch_size", 2, 60_000)
    training.in_range(config, "epochs", 1, 10_000)
    training.in_range(config, "label_smoothing", 0, 0.9)
    training.in_range(config, "augment", 0, 10)


def _pick_device(name: str) -> tuple[torch.device, bool]:
    """The device, and whether bfloat16 trains faster than float32 on it."""
    import torch

    known("device", name, ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    elif not there[name]:
        raise training.InputError(f"there is no {name} device here; leave --device out or say --device cpu.")
    if name == "cuda":
        return torch.device(name), torch.cuda.is_bf16_supported(including_emulation=False)
    # Only processors with instructions for it are faster in bfloat16; asked of the processor, not timed,
    # so that the same machine always trains the same network.
    asks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    fast = any(getattr(torch.cpu, ask, bool)() for ask in asks)
    return torch.device(name), name == "cpu" and fast


def _optimizer(network: torch.nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    import torch

    arguments = {"lr": config["learning_rate"], "weight_decay": config["weight_decay"]}
    if config["optimizer"] in ("SGD", "RMSprop"):
        arguments["momentum"] = config["momentum"]
    if config["optimizer"] == "SGD":
        arguments["nesterov"] = config["momentum"] > 0
    return getattr(torch.optim, config["optimizer"])(network.parameters(), **arguments)


def _state(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """All that a training needs to go on, as arrays."""
    import torch

    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        # SGD without momentum keeps an empty buffer.
        entries = {name: value for name, value in entries.items() if value is not None}
        tensors.update(
            {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in entries.items()}
        )
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _set_state(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, arrays: dict[str, np.ndarray]
) -> None:
    """Take over what `_state` gave; nothing where there is none."""
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
    """The learning rate, as a part of the highest, after `progress` (0 to 1) of the training."""
    import math

    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 1.0 if progress < 0.6 else 0.1 if progress < 0.85 else 0.01
    if schedule == "one-cycle" and progress < 0.2:
        # L. Smith, N. Topin: Super-convergence, 2018: up first, here linearly over a fifth of the way.
        return 0.04 + 0.96 * progress / 0.2
    falling = (progress - 0.2) / 0.8 if schedule == "one-cycle" else progress
    return 0.5 * (1 + math.cos(math.pi * falling))


def _loss(config: dict[str, Any], logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss, a mean over the batch, of logits (n, 10) and labels (n,)."""
    import torch
    import torch.nn.functional as F

    if config["loss"] == "cross-entropy":
        return F.cross_entropy(logits, labels, label_smoothing=config["label_smoothing"])
    if config["loss"] == "margin":
        return F.multi_margin_loss(logits, labels)
    return F.mse_loss(torch.softmax(logits, dim=1), F.one_hot(labels, 10).to(logits.dtype))


def main(argv: list[str] | None = None) -> None:
    training.command("ann", __doc__, OPTIONS, train, argv, fast=FAST)


if __name__ == "__main__":
    commandline.run(main)
