"""The neural network (ANN): convolutional and fully connected layers, described by keyword arguments.

    network = ANN(conv_channels=[24, 48, 96], hidden=[128], activation="GELU")

The network gets images scaled to 0 to 1 and centred on MNIST's mean; it answers in float32 on whatever
device it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from classifier import Classifier, InputError, expect_arrays, known

ACTIVATIONS: dict[str, type[nn.Module]] = {
    name: getattr(nn, name) for name in ("ReLU", "PReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Tanh")
}
POOLINGS = ("max", "average", "stride")
HEADS = ("flatten", "max", "average")
BATCH = 1000  # images that go through the network at once: bounds the memory, about 50 MB


class ANN(Classifier):
    """A convolutional or fully connected network.

    Parameters
    ----------
    conv_channels : output channels of each convolutional stage; [] for none. A stage ends with pooling.
    convs_per_stage : convolutions in each stage, 1 or more.
    kernel_size : odd side of the convolutions' kernels, in pixels.
    pooling : between two stages: "max", "average", or "stride" (the stage's first convolution steps by 2).
    head : what becomes of the last stage's maps: "flatten", or the "max" or "average" of each map.
    hidden : units of each fully connected layer before the output; [] for none.
    dropout : 0 to below 1, before each fully connected layer.
    batch_norm : after each convolution and each hidden fully connected layer.
    activation : a key of `ACTIVATIONS`.

    Raises
    ------
    InputError : an unknown name, a value out of its range, or more stages than 28 pixels can be halved.
    """

    kind = "ann"
    name = "ANN"

    def __init__(
        self,
        *,
        conv_channels: Sequence[int] = (24, 48, 96),
        convs_per_stage: int = 2,
        kernel_size: int = 3,
        pooling: str = "max",
        head: str = "flatten",
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        batch_norm: bool = True,
        activation: str = "ReLU",
    ) -> None:
        super().__init__(
            conv_channels=list(conv_channels),
            convs_per_stage=convs_per_stage,
            kernel_size=kernel_size,
            pooling=known("pooling", pooling, POOLINGS),
            head=known("head", head, HEADS),
            hidden=list(hidden),
            dropout=dropout,
            batch_norm=batch_norm,
            activation=known("activation", activation, ACTIVATIONS),
        )
        for name, sizes in (("conv_channels", conv_channels), ("hidden", hidden)):
            if not all(isinstance(size, int) and 1 <= size <= 4096 for size in sizes):
                raise InputError(f"wanted {name} from 1 to 4096 each; got {list(sizes)}.")
        if len(conv_channels) > 4:
            raise InputError(
                f"wanted up to 4 convolutional stages (28 pixels halved); got {len(conv_channels)}."
            )
        if not (isinstance(convs_per_stage, int) and 1 <= convs_per_stage <= 8):
            raise InputError(f"wanted 1 to 8 convolutions a stage; got {convs_per_stage}.")
        if not (isinstance(kernel_size, int) and kernel_size % 2 == 1 and 1 <= kernel_size <= 11):
            raise InputError(f"wanted an odd kernel size from 1 to 11; got {kernel_size}.")
        if not 0 <= dropout < 1:
            raise InputError(f"wanted a dropout from 0 to below 1; got {dropout}.")
        self.network = build_network(**self.config)
        self.network.eval()

    @property
    def parameters_count(self) -> int:
        """How many numbers were learned."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return torch.softmax(self.logits(to_tensor(images)), dim=1).cpu().numpy()

    @torch.inference_mode()
    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (n, 10), of images, float (n, 1, 28, 28), 0 to 1; dropout is off."""
        self.network.eval()
        device = next(self.network.parameters()).device
        return torch.cat([self.network(part.to(device)).float() for part in batch.split(BATCH)])

    def arrays(self) -> dict[str, np.ndarray]:
        # Batch normalisation also counts its batches, which matters to nobody who answers.
        state = self.network.state_dict()
        return {name: tensor.cpu().numpy() for name, tensor in state.items() if tensor.is_floating_point()}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        expect_arrays(arrays, {name: (array.shape, array.dtype) for name, array in self.arrays().items()})
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        self.network.load_state_dict(tensors, strict=False)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 28, 28) to float32 (n, 1, 28, 28), 0 to 1."""
    return torch.tensor(images).unsqueeze(1).float().div_(255)


class Standardise(nn.Module):
    """Subtracts MNIST's mean and divides by its standard deviation, of pixels from 0 to 1."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch - 0.1307) / 0.3081


def build_network(
    *,
    conv_channels: Sequence[int],
    convs_per_stage: int,
    kernel_size: int,
    pooling: str,
    head: str,
    hidden: Sequence[int],
    dropout: float,
    batch_norm: bool,
    activation: str,
) -> nn.Sequential:
    """The layers that `ANN` describes, from float (n, 1, 28, 28) to logits (n, 10)."""
    act = ACTIVATIONS[activation]
    layers: list[nn.Module] = [Standardise()]
    channels, side = 1, 28
    for stage, width in enumerate(conv_channels):
        for index in range(convs_per_stage):
            stride = 2 if stage > 0 and index == 0 and pooling == "stride" else 1
            layers.append(
                nn.Conv2d(channels, width, kernel_size, stride, kernel_size // 2, bias=not batch_norm)
            )
            side = (side - 1) // stride + 1
            if pooling != "stride" and index == convs_per_stage - 1 and stage < len(conv_channels) - 1:
                # Before normalisation and activation, which then have a quarter of the work.
                layers.append(nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2))
                side //= 2
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(act())
            channels = width
    if not conv_channels or head == "flatten":
        layers.append(nn.Flatten())
        features = channels * side * side
    else:
        layers += [nn.AdaptiveMaxPool2d(1) if head == "max" else nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        features = channels
    for units in hidden:
        layers += [nn.Dropout(dropout)] if dropout else []
        layers.append(nn.Linear(features, units, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(act())
        features = units
    layers += [nn.Dropout(dropout)] if dropout else []
    layers.append(nn.Linear(features, 10))
    return nn.Sequential(*layers)
