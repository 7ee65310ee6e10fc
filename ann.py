"""The neural network (ANN): convolutional and fully connected layers, described by keyword arguments.

    network = ANN(conv_channels=[32, 64, 128], hidden=[128], activation="GELU")

The network takes images scaled to 0 to 1, and answers in float32 on whatever device it lies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from classifier import Classifier, expect_arrays, option
from classifier import Config as BaseConfig
from toolkit.why import Part, Picture, cover

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn
    from typing_extensions import Self

BATCH = 1000  # images that go through the network at once: bounds the memory, about 50 MB
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
        self.network = build_network(self.config)
        self.network.eval()

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def scores(self, images: np.ndarray) -> np.ndarray:
        return self.logits(to_tensor(images)).cpu().numpy()

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

    def explanation(self, image: np.ndarray, digit: int) -> list[Part]:
        parts = cover(image, digit, self.predict_proba)
        for stage, maps in enumerate(self.feature_maps(image), start=1):
            strongest = np.argsort(-np.abs(maps).sum(axis=(1, 2)), kind="stable")[:MAPS]
            text = f"Stage {stage} of the network: its strongest maps, bright where each finds its pattern."
            parts.append(Part(text, [Picture(maps[index]) for index in strongest]))
        return parts

    def feature_maps(self, image: np.ndarray) -> list[np.ndarray]:
        """Return what each convolutional stage hands on, float32 (channels, side, side), for one image."""
        import torch
        from torch import nn

        self.network.eval()
        batch = to_tensor(image[None]).to(next(self.network.parameters()).device)
        outputs: list[torch.Tensor] = []
        with torch.inference_mode():
            for layer in self.network:
                if isinstance(layer, (nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)):
                    break
                batch = layer(batch)
                if isinstance(layer, nn.Conv2d):
                    outputs.append(batch)
                elif outputs:
                    outputs[-1] = batch  # pooled, normalised, activated
        last = self.config.convs_per_stage
        return [maps[0].float().cpu().numpy() for maps in outputs[last - 1 :: last]]

    def _tensors(self) -> dict[str, torch.Tensor]:
        # Batch normalisation also counts its batches; no answer depends on that.
        state = self.network.state_dict()
        return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: tensor.cpu().numpy() for name, tensor in self._tensors().items()}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        import torch

        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
        expect_arrays(arrays, {name: (shape, np.float32) for name, shape in shapes.items()})
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        tensors |= {
            name: torch.from_numpy(np.zeros(tuple(tensor.shape), np.int64))
            for name, tensor in self.network.state_dict().items()
            if name not in tensors
        }
        self.network.load_state_dict(tensors, assign=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        import torch

        # On this device a network has shapes and no numbers: a header that asks for gigabytes costs nothing.
        with torch.device("meta"):
            return super().load(path)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Turn images, uint8 (n, 28, 28), into a tensor, float32 (n, 1, 28, 28), 0 to 1."""
    import torch

    return torch.tensor(images).unsqueeze(1).float().div_(255)


def build_network(config: Config) -> nn.Sequential:
    """Build the layers, from float (n, 1, 28, 28) to logits (n, 10)."""
    from torch import nn

    class Standardise(nn.Module):
        """Subtract MNIST's mean and divide by its standard deviation."""

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return (batch - 0.1307) / 0.3081

    activation, bias = getattr(nn, config.activation), not config.batch_norm
    layers: list[nn.Module] = [Standardise()]
    channels, side = 1, 28
    for stage, width in enumerate(config.conv_channels):
        for index in range(config.convs_per_stage):
            first = config.pooling == "stem" and stage == index == 0
            strided = config.pooling in ("stride", "stem") and stage > 0 and index == 0
            stride, kernel = 2 if first or strided else 1, 5 if first else config.kernel_size
            layers.append(nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=bias))
            side = (side - 1) // stride + 1
            last = index == config.convs_per_stage - 1 and stage < len(config.conv_channels) - 1
            if last and config.pooling in ("max", "average"):
                # Pooled before normalisation and activation, which then have a quarter of the work.
                layers.append(nn.MaxPool2d(2) if config.pooling == "max" else nn.AvgPool2d(2))
                side //= 2
            layers += [nn.BatchNorm2d(width)] if config.batch_norm else []
            layers.append(activation())
            channels = width
    if config.conv_channels and config.head != "flatten":
        layers.append(nn.AdaptiveMaxPool2d(1) if config.head == "max" else nn.AdaptiveAvgPool2d(1))
        side = 1
    layers.append(nn.Flatten())
    features = channels * side * side
    for units in config.hidden:
        layers += [nn.Dropout(config.dropout)] if config.dropout else []
        layers.append(nn.Linear(features, units, bias=bias))
        layers += [nn.BatchNorm1d(units)] if config.batch_norm else []
        layers.append(activation())
        features = units
    layers += [nn.Dropout(config.dropout)] if config.dropout else []
    layers.append(nn.Linear(features, 10))
    return nn.Sequential(*layers)
