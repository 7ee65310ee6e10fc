"""The support vector machine (SVM), on pixels or on histograms of oriented gradients.

    machine = SVM(kernel="rbf", C=5.0, gamma=1.5, features="hog")

scikit-learn fits one binary machine for each of the 45 pairs of classes, in parallel. One matrix product
computes the decisions of all pairs at once. The probabilities of the ten digits follow from how far an
image lies from each pair's boundary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from classifier import Classifier, InputError, expect_arrays, option
from classifier import Config as BaseConfig
from toolkit.features import BATCH, FEATURES, extract
from toolkit.why import Part, Picture

import numpy as np

PAIRS = list(itertools.combinations(range(10), 2))
# The pairs that each digit belongs to, (10, 9): only in these can its support vectors have coefficients.
PAIRS_OF = np.array([[number for number, pair in enumerate(PAIRS) if digit in pair] for digit in range(10)])
PCA_IMAGES = 20_000  # principal components are computed from at most this many images
DECODER_IMAGES = 5_000  # what draws support vectors is fitted on at most this many
EXAMPLES = 6  # support vectors that an explanation shows for the answer, and against it
STEEPNESS = 5.0  # of a pair's probability over its decision; chosen on the validation split


@dataclass(frozen=True)
class Config(BaseConfig):
    """What the machine looks like."""

    features: str = option("hog", "hog: histograms of oriented gradients", choices=tuple(FEATURES))
    pca: int = option(200, "principal components kept of the features; 0 keeps the features", low=0)
    kernel: str = option(
        "rbf",
        "poly (gamma x.y + coef0)^degree, rbf exp(-gamma |x - y|^2), sigmoid tanh(gamma x.y + coef0)",
        choices=("linear", "poly", "rbf", "sigmoid"),
    )
    C: float = option(5.0, "cost of a margin violation", above=0)
    gamma: float = option(
        1.5, "of poly, rbf and sigmoid; scale: 1 / (number of features x variance)", above=0, words=("scale",)
    )
    degree: int = option(3, "of poly", low=1, high=20)
    coef0: float = option(0.0, "of poly and sigmoid")
    half: bool = option(False, "round support vectors to half precision: a file of about half the size")

    def __post_init__(self) -> None:
        if self.gamma is None or self.gamma == 0:  # what older records and command lines call "scale"
            object.__setattr__(self, "gamma", "scale")
        super().__post_init__()
        if self.pca > FEATURES[self.features][1]:
            most = FEATURES[self.features][1]
            raise InputError(
                f"wanted pca from 0 to {most}, the number of {self.features} features; got {self.pca}."
            )


class SVM(Classifier):
    """A support vector machine for each of the 45 pairs of classes."""

    kind = "svm"
    name = "SVM"
    Config = Config

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        pca, length = self.config.pca, FEATURES[self.config.features][1]
        self.temperature = 1.0
        self._set_machine(
            np.zeros((0, pca or length), np.float32), np.zeros((0, 45), np.float32), np.zeros(45)
        )
        self.mean = np.zeros(length if pca else 0, np.float32)
        self.components = np.zeros((pca, length if pca else 0), np.float32)
        self.decoder = np.zeros((0, 784), np.float16)

    @property
    def _stored(self) -> type:
        """The dtype of support vectors in a model file."""
        return np.float16 if self.config.half else np.float32

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        jobs: int = -1,
        progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    ) -> SVM:
        """Fit all pairs.

        Parameters
        ----------
        images : uint8 (n, 28, 28).
        labels : int64 (n,), each of the ten digits at least once.
        jobs : threads; -1 for one per core.
        progress : wraps the iteration over the pairs, for a progress bar.

        Raises
        ------
        InputError : a digit without images, or fewer images than principal components.
        """
        absent = sorted(set(range(10)) - set(np.unique(labels).tolist()))
        if absent:
            raise InputError(f"an SVM needs images of every digit; there is none of {absent}.")
        if self.config.pca:
            self._fit_pca(images)
        features = self._features(images)
        if self.config.gamma == "scale":
            self.config = replace(self.config, gamma=float(1 / (features.shape[1] * features.var())))
        self._fit_pairs(features, labels, jobs, progress)
        self.fit_decoder(images)
        return self

    def refit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        jobs: int = -1,
        progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    ) -> SVM:
        """Fit all pairs again, with more images. Arguments are as in `fit`.

        It is fitted on its support vectors, which stand for all images that it was fitted on: without the
        others, each pair's boundary is the same.
        """
        features = np.concatenate([self.support_vectors, self._features(images)])
        self._fit_pairs(features, np.concatenate([self.support_digits(), labels]), jobs, progress)
        return self

    def _fit_pairs(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        jobs: int,
        progress: Callable[[Iterable[Any]], Iterable[Any]],
    ) -> None:
        """Fit all pairs on features (n, d) and labels (n,)."""
        from joblib import Parallel, delayed

        parameters = {
            name: getattr(self.config, name) for name in ("kernel", "C", "gamma", "degree", "coef0")
        }
        tasks = []
        for first, second in PAIRS:
            members = np.flatnonzero((labels == first) | (labels == second))
            tasks.append(delayed(_fit_pair)(features, members, labels[members] == second, parameters))
        # libsvm releases Python's lock: threads are as parallel as processes, and cannot outlive this one.
        parallel = Parallel(n_jobs=jobs, return_as="generator", prefer="threads")
        results = list(progress(parallel(tasks)))
        used = np.unique(np.concatenate([support for support, _, _ in results]))
        coefficients = np.zeros((len(used), 45), np.float32)
        for pair, (support, dual, _) in enumerate(results):
            coefficients[np.searchsorted(used, support), pair] = dual
        self._set_machine(features[used], coefficients, np.array([intercept for _, _, intercept in results]))

    def _fit_pca(self, images: np.ndarray) -> None:
        from sklearn.decomposition import PCA

        sample = images[:: -(-len(images) // PCA_IMAGES)]
        if len(sample) < self.config.pca:
            raise InputError(
                f"{self.config.pca} principal components need as many images; got {len(sample)}."
            )
        # The covariance is small: its eigenvectors are exact, fast and not random.
        pca = PCA(self.config.pca, svd_solver="covariance_eigh")
        pca.fit(extract(sample, self.config.features))
        self.mean = pca.mean_.astype(np.float32)
        self.components = np.ascontiguousarray(pca.components_, dtype=np.float32)

    def _features(self, images: np.ndarray) -> np.ndarray:
        """Compute the kernel's input, float32 (n, d), of images, uint8 (n, 28, 28)."""
        parts = []
        for first in range(0, len(images), BATCH):
            features = extract(images[first : first + BATCH], self.config.features)
            parts.append((features - self.mean) @ self.components.T if self.config.pca else features)
        return np.concatenate(parts)

    def _set_machine(
        self, support_vectors: np.ndarray, coefficients: np.ndarray, intercepts: np.ndarray
    ) -> None:
        rounded: np.ndarray = np.asarray(support_vectors, dtype=self._stored)
        self.support_vectors = np.ascontiguousarray(rounded, dtype=np.float32)
        self.coefficients = np.ascontiguousarray(coefficients, dtype=np.float32)
        self.intercepts = np.asarray(intercepts, dtype=np.float32)
        self._square_norms = (self.support_vectors**2).sum(axis=1)

    def decision_function(self, images: np.ndarray) -> np.ndarray:
        """Return the decisions of all pairs, float32 (n, 45), above 0 for a pair's first digit.

        Like scikit-learn's `SVC(decision_function_shape="ovo")`, for images, uint8 (n, 28, 28).
        """
        batches = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
        return np.concatenate(
            [self._kernel(self._features(batch)) @ self.coefficients + self.intercepts for batch in batches]
        )

    def _kernel(self, features: np.ndarray) -> np.ndarray:
        """Compute the kernel between features (n, d) and all support vectors, (n, s)."""
        config, products = self.config, features @ self.support_vectors.T
        if config.kernel == "linear":
            return products
        gamma = 1.0 if config.gamma == "scale" else config.gamma  # of a machine that was never fitted
        if config.kernel == "rbf":
            squares = (features**2).sum(axis=1)[:, None] + self._square_norms - 2 * products
            return np.exp(-gamma * np.maximum(squares, 0))
        products = gamma * products + config.coef0
        return products**config.degree if config.kernel == "poly" else np.tanh(products)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """For each digit, compute the log of a product over its nine pairs, divided by the temperature.

        A pair's probability is the logistic function of its decision (products of pairwise probabilities:
        G. Hinton: Products of experts, 1999).
        """
        from scipy.special import log_expit

        decisions = STEEPNESS * self.decision_function(images).astype(np.float64)
        first_wins, second_wins = log_expit(decisions), log_expit(-decisions)
        scores = np.zeros((len(decisions), 10))
        for pair, (first, second) in enumerate(PAIRS):
            scores[:, first] += first_wins[:, pair]
            scores[:, second] += second_wins[:, pair]
        return scores / self.temperature

    def divide_scores(self, temperature: float) -> None:
        self.temperature *= temperature

    def arrays(self) -> dict[str, np.ndarray]:
        digits = self.support_digits()
        return {
            "support_vectors": self.support_vectors.astype(self._stored, copy=False),
            "support_digits": digits.astype(np.uint8),
            "coefficients": np.take_along_axis(self.coefficients, PAIRS_OF[digits], axis=1),
            "intercepts": self.intercepts,
            "temperature": np.array([self.temperature]),
            "mean": self.mean,
            "components": self.components,
            "decoder": self.decoder,
        }

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        pca, length = self.config.pca, FEATURES[self.config.features][1]
        columns = 9 if "support_digits" in arrays else 45  # older files store the zeros of all other pairs
        none = np.zeros(len(arrays.get("support_vectors", ())), np.uint8)
        arrays = {"support_digits": none, "decoder": np.zeros((0, 784), np.float16), **arrays}
        expect_arrays(
            arrays,
            {
                "support_vectors": ((None, pca or length), self._stored),
                "support_digits": ((None,), np.uint8),
                "coefficients": ((None, columns), np.float32),
                "intercepts": ((45,), np.float32),
                "temperature": ((1,), np.float64),
                "mean": ((length if pca else 0,), np.float32),
                "components": ((pca, length if pca else 0), np.float32),
                "decoder": ((None, 784), np.float16),
            },
        )
        if len(arrays["decoder"]) not in (0, (pca or length) + 1):
            raise ValueError("its decoder does not fit the number of features.")
        coefficients, digits = arrays["coefficients"], arrays["support_digits"]
        if not len(arrays["support_vectors"]) == len(coefficients) == len(digits):
            raise ValueError("it holds another number of support vectors than of coefficients.")
        if digits.max(initial=0) > 9:
            raise ValueError("a support vector belongs to no digit.")
        if columns == 9:
            coefficients = np.zeros((len(digits), 45), np.float32)
            np.put_along_axis(coefficients, PAIRS_OF[digits], arrays["coefficients"], axis=1)
        if not arrays["temperature"][0] > 0:
            raise ValueError("its temperature is not above 0.")
        self._set_machine(arrays["support_vectors"], coefficients, arrays["intercepts"])
        self.temperature = float(arrays["temperature"][0])
        self.mean, self.components = arrays["mean"], arrays["components"]
        self.decoder = arrays["decoder"]

    def parameters(self) -> int:
        return super().parameters() - self.decoder.size  # no answer depends on it

    def contributions(self, image: np.ndarray, digit: int) -> np.ndarray:
        """Return how much each support vector counts for a digit, float32 (s,); below 0 against it.

        With the intercepts, they add up to the digit's nine decisions against the others.
        """
        kernel = self._kernel(self._features(image[None]))[0]
        return kernel * (self.coefficients @ _signs(digit))

    def explanation(self, image: np.ndarray, digit: int) -> list[Part]:
        counts, digits = self.contributions(image, digit), self.support_digits()
        # The squared distance, less what is the same for all.
        distances = self._square_norms - 2 * (self.support_vectors @ self._features(image[None])[0])
        nearest = np.argsort(distances, kind="stable")
        parts = []
        for sign, text in ((1, "why_for"), (-1, "why_against")):
            chosen = nearest[sign * counts[nearest] > 0][:EXAMPLES]
            pictures = self.draw(self.support_vectors[chosen])
            found = zip(pictures, digits[chosen].tolist(), counts[chosen].tolist(), strict=True)
            parts.append(Part(text, [Picture(*one) for one in found]))
        return parts

    def support_digits(self) -> np.ndarray:
        """Return which digit each support vector is an example of, int64 (s,), by its coefficients."""
        return (self.coefficients @ np.stack([_signs(digit) for digit in range(10)], axis=1)).argmax(axis=1)

    def fit_decoder(self, images: np.ndarray) -> None:
        """Learn to draw support vectors, which are stored as features, from images, uint8 (n, 28, 28).

        The decoder is the linear map with the least squared error from features to deslanted images, or to
        the images as they are where the features are their pixels.
        """
        sample = images[:: -(-len(images) // DECODER_IMAGES)]
        inputs = np.column_stack([self._features(sample), np.ones(len(sample))])
        targets = extract(sample, "pixels" if self.config.features == "pixels" else "deslanted")
        squares = inputs.T @ inputs + 0.01 * np.eye(inputs.shape[1])
        self.decoder = np.linalg.solve(squares, inputs.T @ targets).astype(np.float16)

    def draw(self, features: np.ndarray) -> np.ndarray:
        """Draw features (n, d) as digits, float32 (n, 28, 28), 0 to 1; blank without a decoder."""
        drawn = np.zeros((len(features), 784), np.float32)
        if len(self.decoder):
            drawn = features @ self.decoder[:-1].astype(np.float32) + self.decoder[-1].astype(np.float32)
        return np.clip(drawn, 0, 1).reshape(-1, 28, 28)


def _signs(digit: int) -> np.ndarray:
    """Return float32 (45,): 1 for pairs with the digit first, -1 for those with it second, else 0."""
    return np.array([(first == digit) - (second == digit) for first, second in PAIRS], dtype=np.float32)


def _fit_pair(
    features: np.ndarray, members: np.ndarray, is_second: np.ndarray, parameters: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit one pair, in a thread of its own.

    Returns the support vectors' rows in `features` (s,), their dual coefficients (s,) and the intercept.
    """
    from sklearn.svm import SVC

    machine = SVC(**parameters, cache_size=1000).fit(features[members], is_second)
    # With two classes, scikit-learn's decision is above 0 for the second; with many, for a pair's first.
    return (
        members[machine.support_],
        -machine.dual_coef_[0].astype(np.float32),
        -float(machine.intercept_[0]),
    )
