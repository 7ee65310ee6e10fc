"""The neural network (ANN): convolutional and fully connected layers, described by keyword arguments.

    network = ANN(conv_channels=[32, 64, 128], hidden=[128], activation="GELU")

The network takes images scaled to 0 to 1, and answers in float32 on whatever device it lies. One that was
loaded from a file answers few images in NumPy (`toolkit/forward.py`): the window need not import PyTorch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from classifier import Classifier, expect_arrays, option
from classifier import Config as BaseConfig
from toolkit import forward
from toolkit.why import Part, Picture, cover

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 1000  # images that go through the network at once: bounds the memory, about 50 MB
FEW = 200  # images that a network from a file answers in NumPy: all covered ones of an explanation
PART = 10  # of these that go through the network at once
MAPS = 8  # of a stage that an explanation shows
LARGEST = 4096  # channels or units of a layer


@dataclass(frozen=True)
class Config(BaseConfig):
    """What the network looks like."""

    conv_channels: tuple[int, ...] = option(
        (32, 64, 128), "channels of each convolutional stage; '' for none", low=1, high=LARGEST, most=4
    )  # at most 4: 28 pixels can be halved no more often
    convs_per_stage: int = option(2, "convolutions in each stage", low=1, high=8)
    kernel_size: int = option(3, "side of the kernels in pixels", choices=(1, 3, 5, 7, 9, 11))
    pooling: str = option(
        "stem",
        "between stages; stride: a convolution steps by 2; stem: so does the very first one, of 5 x 5",
        choices=("max", "average", "stride", "stem"),
    )
    head: str = option(
        "flatten", "after the last stage: all of it, or each map's maximum or average",
        choices=("flatten", "max", "average"),
    )  # fmt: skip
    hidden: tuple[int, ...] = option(
        (), "units of each fully connected layer; '' for none", low=1, high=LARGEST, most=8
    )
    dropout: float = option(0.0, "share of units dropped before each fully connected layer", low=0, high=0.95)
    batch_norm: bool = option(True, "batch normalisation after each layer")
    activation: str = option(
        "ReLU", "after each layer", choices=("ReLU", "PReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Tanh")
    )


class ANN(Classifier):
    """A convolutional or fully connected network."""

    kind = "ann"
    name = "ANN"
    Config = Config

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.layers = describe(self.config)
        # What a file holds, and the same as functions, until the network itself is needed.
        self._arrays: dict[str, np.ndarray] | None = None
        self._functions: list[tuple[str, forward.Function]] = []

    @cached_property
    def network(self) -> nn.Sequential:
        """The layers in PyTorch, which from now on hold the weights."""
        import torch

        network = build_network(self.config)
        if self._arrays is not None:
            tensors = {name: torch.from_numpy(array.copy()) for name, array in self._arrays.items()}
            network.load_state_dict(tensors, strict=False)  # no array counts batch normalisation's batches
            self._arrays = None
        return network.eval()

    def parameters(self) -> int:
        return sum(array.size for name, array in self.arrays().items() if "running" not in name)

    def scores(self, images: np.ndarray) -> np.ndarray:
        if self._arrays is None or len(images) > FEW:
            return self.logits(to_tensor(images)).cpu().numpy()
        parts = [images[first : first + PART] for first in range(0, len(images), PART)]
        return np.concatenate([deque(self._outputs(part), 1)[0][1] for part in parts])

    def divide_scores(self, temperature: float) -> None:
        import torch

        with torch.no_grad():
            for parameter in self.network[-1].parameters():  # scores are linear in these
                parameter.div_(temperature)

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Compute logits, float32 (n, 10), of images, float (n, 1, 28, 28), 0 to 1, without dropout."""
        import torch

        self.network.eval()
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            return torch.cat([self.network(part.to(device)).float() for part in batch.split(BATCH)])

    def _outputs(self, images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer, and what it makes of images, in NumPy."""
        functions = (
            self._functions if self._arrays is not None else forward.functions(self.layers, self.arrays())
        )
        return forward.outputs(functions, images)

    def explanation(self, image: np.ndarray, digit: int) -> list[Part]:
        parts = cover(image, digit, self.predict_proba)
        for stage, maps in enumerate(self.feature_maps(image), start=1):
            strongest = np.argsort(-np.abs(maps).sum(axis=(1, 2)), kind="stable")[:MAPS]
            parts.append(
                Part("why_stage", [Picture(maps[index]) for index in strongest], values={"stage": stage})
            )
        return parts

    def feature_maps(self, image: np.ndarray) -> list[np.ndarray]:
        """Return what each convolutional stage hands on, float32 (channels, side, side), for one image."""
        outputs: list[np.ndarray] = []
        for name, output in self._outputs(image[None]):
            if name in ("AdaptiveMaxPool2d", "AdaptiveAvgPool2d", "Flatten"):
                break
            if name == "Conv2d":
                outputs.append(output)
            elif outputs:
                outputs[-1] = output  # pooled, normalised, activated
        last = self.config.convs_per_stage
        return [np.moveaxis(maps[0], -1, 0) for maps in outputs[last - 1 :: last]]

    def arrays(self) -> dict[str, np.ndarray]:
        if self._arrays is not None:
            return self._arrays
        # Batch normalisation also counts its batches; no answer depends on that.
        state = self.network.state_dict()
        return {name: tensor.cpu().numpy() for name, tensor in state.items() if tensor.is_floating_point()}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        # A header that asks for gigabytes costs nothing: nothing is built before its shapes are compared.
        wanted = forward.shapes(self.layers)
        expect_arrays(arrays, {name: (shape, np.float32) for name, shape in wanted.items()})
        self._arrays = {name: array.copy() for name, array in arrays.items()}
        self._functions = forward.functions(self.layers, self._arrays)
        self.__dict__.pop("network", None)  # the one before


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Turn images, uint8 (n, 28, 28), into a tensor, float32 (n, 1, 28, 28), 0 to 1."""
    import torch

    return torch.tensor(images).unsqueeze(1).float().div_(255)


def describe(config: Config) -> list[forward.Layer]:
    """List the layers, from images scaled to 0 to 1 to ten logits, for NumPy and PyTorch alike."""
    bias = not config.batch_norm
    layers: list[forward.Layer] = [("Standardise",)]
    channels, side = 1, 28
    for stage, width in enumerate(config.conv_channels):
        for index in range(config.convs_per_stage):
            first = config.pooling == "stem" and stage == index == 0
            strided = config.pooling in ("stride", "stem") and stage > 0 and index == 0
            stride, kernel = 2 if first or strided else 1, 5 if first else config.kernel_size
            layers.append(("Conv2d", channels, width, kernel, stride, kernel // 2, 1, 1, bias))
            side = (side - 1) // stride + 1
            last = index == config.convs_per_stage - 1 and stage < len(config.conv_channels) - 1
            if last and config.pooling in ("max", "average"):
                # Pooled before normalisation and activation, which then have a quarter of the work.
                layers.append(("MaxPool2d" if config.pooling == "max" else "AvgPool2d", 2))
                side //= 2
            layers += [("BatchNorm2d", width)] if config.batch_norm else []
            layers.append((config.activation,))
            channels = width
    if config.conv_channels and config.head != "flatten":
        layers.append(("AdaptiveMaxPool2d" if config.head == "max" else "AdaptiveAvgPool2d", 1))
        side = 1
    layers.append(("Flatten",))
    features = channels * side * side
    for units in config.hidden:
        layers += [("Dropout", config.dropout)] if config.dropout else []
        layers.append(("Linear", features, units, bias))
        layers += [("BatchNorm1d", units)] if config.batch_norm else []
        layers.append((config.activation,))
        features = units
    layers += [("Dropout", config.dropout)] if config.dropout else []
    layers.append(("Linear", features, 10, True))
    return layers


def build_network(config: Config) -> nn.Sequential:
    """Build the layers in PyTorch, from float (n, 1, 28, 28) to logits (n, 10)."""
    from torch import nn

    class Standardise(nn.Module):
        """Subtract MNIST's mean and divide by its standard deviation."""

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return (batch - forward.MEAN) / forward.DEVIATION

    known = {"Standardise": Standardise}
    layers = describe(config)
    return nn.Sequential(*((known.get(name) or getattr(nn, name))(*rest) for name, *rest in layers))
