"""The softmax classifier (multinomial logistic regression): one weight a pixel and digit.

The shortest classifier of the toolkit, and the example to start a new one from: it says how
probabilities are computed and which arrays it consists of; `classifier.py` does all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from classifier import Classifier, expect_arrays


class Softmax(Classifier):
    """Probabilities are softmax(pixels @ weights + biases), the pixels from 0 to 1."""

    kind = "softmax"
    name = "Softmax"

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.zeros((784, 10), np.float32)
        self.biases = np.zeros(10, np.float32)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return softmax(pixels(images) @ self.weights + self.biases)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "biases": self.biases}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        expect_arrays(arrays, {"weights": ((784, 10), np.float32), "biases": ((10,), np.float32)})
        self.weights, self.biases = arrays["weights"], arrays["biases"]


def pixels(images: np.ndarray) -> np.ndarray:
    """uint8 (n, 28, 28) to float32 (n, 784), 0 to 1."""
    return images.reshape(len(images), 784).astype(np.float32) / 255


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(logits) scaled to rows that sum to 1, (n, 10); the largest logit is taken off first, so that
    exp cannot overflow."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss_and_gradient(
    weights: np.ndarray, biases: np.ndarray, inputs: np.ndarray, labels: np.ndarray, penalty: float = 0.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean cross entropy + penalty / 2 x the sum of the squared weights, and its gradient.

    Parameters
    ----------
    weights, biases : float (784, 10) and (10,).
    inputs, labels : float (n, 784), 0 to 1; int (n,).

    Returns
    -------
    The loss, its gradient by the weights (784, 10) and by the biases (10,)
    (C. Bishop: Pattern Recognition and Machine Learning, 2006, equation 4.109).
    """
    probabilities = softmax(inputs @ weights + biases)
    rows = np.arange(len(labels))
    tiny = np.finfo(probabilities.dtype).tiny
    loss = -np.log(np.maximum(probabilities[rows, labels], tiny)).mean() + penalty / 2 * (weights**2).sum()
    errors = probabilities
    errors[rows, labels] -= 1
    errors /= len(labels)
    return float(loss), inputs.T @ errors + penalty * weights, errors.sum(axis=0)
