"""Softmax regression (multinomial logistic regression): one weight for each pixel and digit.

The shortest classifier of the toolkit, and the example to start a new one from: it says how probabilities
are computed and which arrays it consists of. `classifier.py` does all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from classifier import Classifier, expect_arrays
from toolkit.features import pixels
from toolkit.why import Part, Picture

import numpy as np


class Softmax(Classifier):
    """Probabilities are softmax(pixels @ weights + biases), with pixels from 0 to 1."""

    kind = "softmax"
    name = "Softmax"

    def __init__(self, **config: object) -> None:
        super().__init__(**config)
        self.weights = np.zeros((784, 10), np.float32)
        self.biases = np.zeros(10, np.float32)

    def scores(self, images: np.ndarray) -> np.ndarray:
        return pixels(images) @ self.weights + self.biases

    def divide_scores(self, temperature: float) -> None:
        self.weights, self.biases = self.weights / temperature, self.biases / temperature

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "biases": self.biases}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        expect_arrays(arrays, {"weights": ((784, 10), np.float32), "biases": ((10,), np.float32)})
        self.weights, self.biases = arrays["weights"], arrays["biases"]

    def explanation(self, image: np.ndarray, digit: int) -> list[Part]:
        weights = self.weights[:, digit]
        # With the bias, the products add up to the digit's score, its logit.
        products = pixels(image[None])[0] * weights
        score = float(products.sum() + self.biases[digit])
        return [
            Part("why_ink", [Picture(products.reshape(28, 28), digit, score)], signed=True),
            Part("why_weights", [Picture(weights.reshape(28, 28), digit)], signed=True),
        ]


def loss_and_gradient(
    weights: np.ndarray, biases: np.ndarray, inputs: np.ndarray, labels: np.ndarray, weight_decay: float = 0.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean cross entropy + weight_decay / 2 x the sum of the squared weights, and its gradient.

    Parameters
    ----------
    weights, biases : float (784, 10) and (10,).
    inputs, labels : float (n, 784), 0 to 1; int (n,).

    Returns
    -------
    The loss, its gradient by the weights (784, 10) and by the biases (10,)
    (C. Bishop: Pattern Recognition and Machine Learning, 2006, equation 4.109).
    """
    from scipy.special import log_softmax

    log_probabilities = log_softmax(inputs @ weights + biases, axis=1)
    rows = np.arange(len(labels))
    loss = -log_probabilities[rows, labels].mean() + weight_decay / 2 * (weights**2).sum()
    errors = np.exp(log_probabilities)
    errors[rows, labels] -= 1
    errors /= len(labels)
    return float(loss), inputs.T @ errors + weight_decay * weights, errors.sum(axis=0)
