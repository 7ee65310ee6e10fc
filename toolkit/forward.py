"""A network's answers to few images, in NumPy: who only wants answers need not import PyTorch.

NumPy and PyTorch read the same list of layers. A layer is the name of one in `torch.nn`, or "Standardise",
followed by its arguments. The arrays are named as in PyTorch, by the layer's number: "1.weight".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Layer = tuple[Any, ...]
Function = Callable[[np.ndarray], np.ndarray]
NONE = np.zeros(1, np.float32)  # instead of a layer's bias
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, 0 to 1


def shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a network's arrays, float32 each."""
    found: dict[str, tuple[int, ...]] = {}
    for number, (name, *arguments) in enumerate(layers):
        own: dict[str, tuple[int, ...]] = {}
        if name == "Conv2d":
            channels, width, side, *_, bias = arguments
            own = {"weight": (width, channels, side, side)} | ({"bias": (width,)} if bias else {})
        elif name == "Linear":
            inputs, units, bias = arguments
            own = {"weight": (units, inputs)} | ({"bias": (units,)} if bias else {})
        elif name in ("BatchNorm1d", "BatchNorm2d"):
            own = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), tuple(arguments))
        elif name == "PReLU":
            own = {"weight": (1,)}
        found |= {f"{number}.{key}": shape for key, shape in own.items()}
    return found


def functions(layers: Sequence[Layer], arrays: Mapping[str, np.ndarray]) -> list[tuple[str, Function]]:
    """Return the name of each layer, and what it does to images, float32 (n, h, w, c)."""
    found = []
    for number, (name, *arguments) in enumerate(layers):
        prefix = f"{number}."
        own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        with np.errstate(all="ignore"):  # damaged weights can overflow, here and in the answers
            found.append((name, _function(name, arguments, own)))
    return found


def outputs(
    functions: Sequence[tuple[str, Function]], images: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each layer, and what it makes of images, uint8 (n, 28, 28)."""
    batch = images[..., None].astype(np.float32) / 255
    for name, function in functions:
        with np.errstate(all="ignore"):
            batch = function(batch)
        yield name, batch


def _function(name: str, arguments: Sequence[Any], own: Mapping[str, np.ndarray]) -> Function:
    if name == "Standardise":
        return lambda batch: (batch - np.float32(MEAN)) / np.float32(DEVIATION)
    if name == "Conv2d":
        return _convolution(own["weight"], own.get("bias", NONE), *arguments[3:5])
    if name == "Linear":
        weights, bias = own["weight"].T, own.get("bias", NONE)
        return lambda batch: batch @ weights + bias
    if name in ("BatchNorm1d", "BatchNorm2d"):
        scale = own["weight"] / np.sqrt(own["running_var"] + np.float32(1e-5))
        shift = own["bias"] - own["running_mean"] * scale
        return lambda batch: batch * scale + shift
    if name in ("MaxPool2d", "AvgPool2d"):
        pool = np.max if name == "MaxPool2d" else np.mean
        return lambda batch: pool(_quarters(batch), axis=(2, 4))
    if name in ("AdaptiveMaxPool2d", "AdaptiveAvgPool2d"):
        pool = np.max if name == "AdaptiveMaxPool2d" else np.mean
        return lambda batch: pool(batch, axis=(1, 2), keepdims=True)
    if name == "Flatten":  # PyTorch has the channels first
        return lambda batch: np.moveaxis(batch, -1, 1).reshape(len(batch), -1)
    return (lambda batch: batch) if name == "Dropout" else _activation(name, own)


def _convolution(kernels: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> Function:
    """Return a function that multiplies each window of an image by all kernels at once."""
    side = kernels.shape[-1]
    weights = kernels.transpose(2, 3, 1, 0).reshape(-1, len(kernels))
    around = (0, 0), (padding, padding), (padding, padding), (0, 0)

    def convolve(batch: np.ndarray) -> np.ndarray:
        padded = np.pad(batch, around)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
        windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)  # n, h, w, side, side, c
        shape = windows.shape[:3]
        return (windows.reshape(-1, len(weights)) @ weights + bias).reshape(*shape, -1)

    return convolve


def _quarters(batch: np.ndarray) -> np.ndarray:
    """Divide images (n, h, w, c) into squares of 2 x 2 pixels, (n, h / 2, 2, w / 2, 2, c)."""
    count, height, width, channels = batch.shape
    even = batch[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2, channels)


def _activation(name: str, own: Mapping[str, np.ndarray]) -> Function:
    from scipy.special import erf, expit

    slopes = {"ReLU": np.float32(0), "LeakyReLU": np.float32(0.01), "PReLU": own.get("weight")}
    if name in slopes:
        return lambda batch: np.where(batch > 0, batch, slopes[name] * batch)
    known: dict[str, Function] = {
        "ELU": lambda batch: np.where(batch > 0, batch, np.expm1(np.minimum(batch, 0))),
        "GELU": lambda batch: batch * (1 + erf(batch / np.float32(2**0.5))) / 2,
        "SiLU": lambda batch: batch * expit(batch),
        "Tanh": np.tanh,
    }
    return known[name]
