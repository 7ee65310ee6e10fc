"""The support vector machine (SVM), on pixels or on histograms of oriented gradients.

    machine = SVM(kernel="rbf", C=5.0, gamma=1.5, features="hog")

scikit-learn fits one binary machine for each of the 45 pairs of classes, in parallel; the decision
function is computed from all of them at once, with one product of matrices. The probabilities of the ten
digits follow from how far an image lies from each pair's boundary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from classifier import Classifier, InputError, expect_arrays, known

KERNELS = ("linear", "poly", "rbf", "sigmoid")
PAIRS = list(itertools.combinations(range(10), 2))
PCA_IMAGES = 20_000  # principal components are those of so many images at most
BATCH = 500  # images answered at once: bounds the memory, about 50 MB

STEEPNESS = 5.0  # of a pair's probability by its decision; chosen on the choosing split

# Histograms of oriented gradients
GRIDS = (9, 5, 3)  # cells a side of each scale
ORIENTATIONS = 12  # signed: dark to light and light to dark are two


class SVM(Classifier):
    """A support vector machine of the 45 pairs of classes.

    Parameters
    ----------
    kernel : "linear" x.y, "poly" (gamma x.y + coef0)^degree, "rbf" exp(-gamma |x - y|^2),
        "sigmoid" tanh(gamma x.y + coef0).
    C : cost of a margin violation, above 0.
    gamma : above 0; None for 1 / (number of features x their variance), which `fit` then sets.
    degree : of "poly", from 1.
    coef0 : of "poly" and "sigmoid".
    features : a key of `FEATURES`: "pixels", "deslanted" or "hog".
    pca : principal components kept of the features; 0 leaves them as they are.
    half : whether support vectors are rounded to half precision (float16), which makes the model file about
        half as large; answers are computed in float32 all the same.

    Raises
    ------
    InputError : an unknown name or a value out of its range.
    """

    kind = "svm"
    name = "SVM"

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        C: float = 5.0,
        gamma: float | None = 1.5,
        degree: int = 3,
        coef0: float = 0.0,
        features: str = "hog",
        pca: int = 0,
        half: bool = False,
    ) -> None:
        super().__init__(
            kernel=kernel, C=C, gamma=gamma, degree=degree, coef0=coef0, features=features, pca=pca, half=half
        )
        known("kernel", kernel, KERNELS)
        known("features", features, FEATURES)
        if not 0 < C < np.inf:
            raise InputError(f"wanted C above 0; got {C}.")
        if gamma is not None and not 0 < gamma < np.inf:
            raise InputError(f"wanted gamma above 0; got {gamma}.")
        if not (isinstance(degree, int) and 1 <= degree <= 20):
            raise InputError(f"wanted a degree from 1 to 20; got {degree}.")
        if not np.isfinite(coef0):
            raise InputError(f"wanted a finite coef0; got {coef0}.")
        length = FEATURES[features][1]
        if not (isinstance(pca, int) and 0 <= pca <= length):
            raise InputError(f"wanted 0 to {length} principal components of {features}; got {pca}.")
        self.temperature = 1.0
        self._set_machine(
            np.zeros((0, pca or length), np.float32), np.zeros((0, 45), np.float32), np.zeros(45)
        )
        self.mean = np.zeros(length if pca else 0, np.float32)
        self.components = np.zeros((pca, length if pca else 0), np.float32)

    @property
    def _stored(self) -> type:
        """The dtype of support vectors in a model file."""
        return np.float16 if self.config["half"] else np.float32

    @property
    def support_count(self) -> int:
        """How many support vectors all pairs have together, each counted once."""
        return len(self.support_vectors)

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        jobs: int = -1,
        fitted: Mapping[int, tuple[np.ndarray, np.ndarray, float]] | None = None,
        on_pair: Callable[[int, tuple[np.ndarray, np.ndarray, float]], None] | None = None,
    ) -> SVM:
        """Fit all pairs.

        Parameters
        ----------
        images : uint8 (n, 28, 28).
        labels : int64 (n,), each of the ten digits at least once.
        jobs : processes; -1 for one a core.
        fitted : results of pairs (index in `PAIRS`) that an interrupted fit on the same images gave.
        on_pair : called with each new result: the pair's index, and the support vectors' numbers in
            `images` (s,), their dual coefficients (s,) and the intercept.

        Raises
        ------
        ValueError : a digit of which there is no image.
        """
        absent = sorted(set(range(10)) - set(np.unique(labels).tolist()))
        if absent:
            raise InputError(f"an SVM needs images of every digit; there is none of {absent}.")
        if self.config["pca"]:
            self._fit_pca(images)
        features = self._features(images)
        if self.config["gamma"] is None:
            self.config["gamma"] = float(1 / (features.shape[1] * features.var()))
        results = dict(fitted or {})
        for pair, result in self._fit_pairs(features, labels, set(range(45)) - set(results), jobs):
            results[pair] = result
            if on_pair:
                on_pair(pair, result)
        used = np.unique(np.concatenate([results[pair][0] for pair in range(45)]))
        coefficients = np.zeros((len(used), 45), np.float32)
        for pair, (support, dual, _) in results.items():
            coefficients[np.searchsorted(used, support), pair] = dual
        intercepts = np.array([results[pair][2] for pair in range(45)])
        self._set_machine(features[used], coefficients, intercepts)
        return self

    def _fit_pairs(
        self, features: np.ndarray, labels: np.ndarray, pairs: Iterable[int], jobs: int
    ) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray, float]]]:
        from joblib import Parallel, delayed

        parameters = {name: self.config[name] for name in ("kernel", "C", "gamma", "degree", "coef0")}
        tasks = []
        for pair in sorted(pairs):
            members = np.flatnonzero(np.isin(labels, PAIRS[pair]))
            tasks.append(
                delayed(_fit_pair)(pair, features, members, labels[members] == PAIRS[pair][1], parameters)
            )
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)

    def _fit_pca(self, images: np.ndarray) -> None:
        from sklearn.decomposition import PCA

        sample = images[:: -(-len(images) // PCA_IMAGES)]
        if len(sample) < self.config["pca"]:
            raise InputError(
                f"{self.config['pca']} principal components need as many images; got {len(sample)}."
            )
        # The covariance is small: its eigenvectors are exact, fast and not random.
        pca = PCA(self.config["pca"], svd_solver="covariance_eigh")
        pca.fit(extract(sample, self.config["features"]))
        self.mean = pca.mean_.astype(np.float32)
        self.components = np.ascontiguousarray(pca.components_, dtype=np.float32)

    def _features(self, images: np.ndarray) -> np.ndarray:
        """What the kernel gets, float32 (n, d), of images, uint8 (n, 28, 28)."""
        parts = []
        for first in range(0, len(images), BATCH):
            features = extract(images[first : first + BATCH], self.config["features"])
            parts.append((features - self.mean) @ self.components.T if self.config["pca"] else features)
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
        """Signed distances, float32 (n, 45), from each pair's boundary: above 0 for its first digit.

        As scikit-learn's `SVC(decision_function_shape="ovo")`, for uint8 (n, 28, 28).
        """
        batches = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
        return np.concatenate(
            [self._kernel(self._features(batch)) @ self.coefficients + self.intercepts for batch in batches]
        )

    def _kernel(self, features: np.ndarray) -> np.ndarray:
        """The kernel between features (n, d) and all support vectors, (n, s)."""
        gamma, products = self.config["gamma"] or 1.0, features @ self.support_vectors.T
        if self.config["kernel"] == "linear":
            return products
        if self.config["kernel"] == "rbf":
            squares = (features**2).sum(axis=1)[:, None] + self._square_norms - 2 * products
            return np.exp(-gamma * np.maximum(squares, 0))
        products = gamma * products + self.config["coef0"]
        return products ** self.config["degree"] if self.config["kernel"] == "poly" else np.tanh(products)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Ten scores, float64 (n, 10): for each digit the log of the product of what its nine pairs say,
        a pair's probability being the logistic function of its decision (products of pairwise
        probabilities: G. Hinton: Products of experts, 1999)."""
        decisions = STEEPNESS * self.decision_function(images).astype(np.float64)
        first_wins, second_wins = -np.logaddexp(0, -decisions), -np.logaddexp(0, decisions)
        scores = np.zeros((len(decisions), 10))
        for pair, (first, second) in enumerate(PAIRS):
            scores[:, first] += first_wins[:, pair]
            scores[:, second] += second_wins[:, pair]
        return scores

    def calibrate(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Set the temperature that gives the least log loss on images that were not fitted on.

        The one parameter of C. Guo and others: On calibration of modern neural networks, ICML 2017.
        """
        from scipy.optimize import minimize_scalar

        scores = self.scores(images)

        def log_loss(log_temperature: float) -> float:
            log_probabilities = _log_softmax(scores / np.exp(log_temperature))
            return float(-log_probabilities[np.arange(len(labels)), labels].mean())

        self.temperature = float(np.exp(minimize_scalar(log_loss, bounds=(-6, 6), method="bounded").x))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.exp(_log_softmax(self.scores(images) / self.temperature)).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "support_vectors": self.support_vectors.astype(self._stored, copy=False),
            "coefficients": self.coefficients,
            "intercepts": self.intercepts,
            "temperature": np.array([self.temperature]),
            "mean": self.mean,
            "components": self.components,
        }

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        pca, length = self.config["pca"], FEATURES[self.config["features"]][1]
        expect_arrays(
            arrays,
            {
                "support_vectors": ((None, pca or length), self._stored),
                "coefficients": ((None, 45), np.float32),
                "intercepts": ((45,), np.float32),
                "temperature": ((1,), np.float64),
                "mean": ((length if pca else 0,), np.float32),
                "components": ((pca, length if pca else 0), np.float32),
            },
        )
        if len(arrays["support_vectors"]) != len(arrays["coefficients"]):
            raise ValueError("it holds another number of support vectors than of coefficients.")
        if not arrays["temperature"][0] > 0:
            raise ValueError("its temperature is not above 0.")
        self._set_machine(arrays["support_vectors"], arrays["coefficients"], arrays["intercepts"])
        self.temperature = float(arrays["temperature"][0])
        self.mean, self.components = arrays["mean"], arrays["components"]


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _fit_pair(
    pair: int, features: np.ndarray, members: np.ndarray, is_second: np.ndarray, parameters: dict[str, Any]
) -> tuple[int, tuple[np.ndarray, np.ndarray, float]]:
    """Fit one pair on the images `members`; in a process of its own."""
    from sklearn.svm import SVC

    machine = SVC(**parameters, cache_size=1000).fit(features[members], is_second)
    # Two classes alone, scikit-learn's decision is above 0 for the second; of many, for a pair's first.
    return pair, (
        members[machine.support_],
        -machine.dual_coef_[0].astype(np.float32),
        -float(machine.intercept_[0]),
    )


def extract(images: np.ndarray, name: str) -> np.ndarray:
    """Features, float32 (n, d), of images, uint8 (n, 28, 28), by a name of `FEATURES`."""
    parts = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
    return np.concatenate([FEATURES[name][0](part) for part in parts])


def pixels(images: np.ndarray) -> np.ndarray:
    """The pixels, 0 to 1, float32 (n, 784)."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def deslant(images: np.ndarray) -> np.ndarray:
    """Images float32 (n, 28, 28), 0 to 1, their centre of mass in the middle, their slant taken out.

    The slant is the ink's covariance of x and y by its variance of y (Y. LeCun and others:
    Gradient-based learning applied to document recognition, 1998, section III).
    """
    ink = images.astype(np.float32) / 255
    total = np.maximum(ink.sum(axis=(1, 2)), 1e-6)
    place = np.arange(28, dtype=np.float32)
    mean_x = (ink.sum(axis=1) @ place) / total
    mean_y = (ink.sum(axis=2) @ place) / total
    dx, dy = place - mean_x[:, None], place - mean_y[:, None]
    covariance = np.einsum("nyx,ny,nx->n", ink, dy, dx) / total
    variance = np.einsum("nyx,ny->n", ink, dy**2) / total
    slant = np.where(variance > 1e-3, covariance / np.maximum(variance, 1e-3), 0)
    # A row is moved sideways by its slant; both moves are linear interpolations, rows after columns.
    shift_x = mean_x[:, None] - 13.5 + slant[:, None] * (place - 13.5)
    return _shift_rows(_shift_columns(ink, mean_y - 13.5), shift_x)


def _shift_columns(ink: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Every image (n, 28, 28) moved up by its shift (n,), in pixels."""
    turned = np.ascontiguousarray(ink.transpose(0, 2, 1))
    return np.ascontiguousarray(_shift_rows(turned, np.repeat(shift[:, None], 28, axis=1)).transpose(0, 2, 1))


def _shift_rows(ink: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Every row of (n, 28, 28) moved to the left by its shift (n, 28), linearly interpolated."""
    n = len(ink)
    whole = np.floor(shift)
    part = (shift - whole).astype(np.float32)[..., None]
    padded = np.zeros((n, 28, 28 + 58), np.float32)
    padded[:, :, 29:57] = ink
    # Beyond the margin there is paper anyway.
    left = np.clip(whole, -29, 28).astype(np.intp) + 29
    index = left[..., None] + np.arange(28)
    rows = np.take_along_axis(padded, index, axis=2)
    right = np.take_along_axis(padded, index + 1, axis=2)
    return rows + part * (right - rows)


def deslanted(images: np.ndarray) -> np.ndarray:
    """The pixels of the deslanted images, float32 (n, 784)."""
    return deslant(images).reshape(len(images), -1)


def _cell_weights(cells: int) -> np.ndarray:
    """How much each of 28 places counts for each cell, (cells, 28): linearly less from its middle on."""
    size = 28 / cells
    middles = (np.arange(cells) + 0.5) * size
    return np.maximum(1 - np.abs(np.arange(28) + 0.5 - middles[:, None]) / size, 0).astype(np.float32)


_WEIGHTS = {cells: _cell_weights(cells) for cells in GRIDS}


def hog(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of the deslanted images at three scales, float32 (n, 1380).

    After N. Dalal, B. Triggs: Histograms of oriented gradients for human detection, CVPR 2005, on grids of
    9 x 9, 5 x 5 and 3 x 3 cells: signed orientations, linear between two bins and between cells, every
    cell normalised by the energy of its neighbourhood of 3 x 3. The square root makes the scalar product
    one of distributions (R. Arandjelovic, A. Zisserman: Three things everyone should know to improve object
    retrieval, CVPR 2012); then all of a scale is brought to the length 1.
    """
    ink = deslant(images)
    n = len(ink)
    gx, gy = np.zeros_like(ink), np.zeros_like(ink)
    gx[:, :, 1:-1] = ink[:, :, 2:] - ink[:, :, :-2]
    gy[:, 1:-1, :] = ink[:, 2:, :] - ink[:, :-2, :]
    strength = np.hypot(gx, gy)
    turn = np.arctan2(gy, gx) * (ORIENTATIONS / (2 * np.pi))
    lower = np.floor(turn)
    part = turn - lower
    lower = lower.astype(np.int8) % ORIENTATIONS
    maps = np.zeros((n, ORIENTATIONS, 28, 28), np.float32)
    for bin_ in range(ORIENTATIONS):
        maps[:, bin_] = strength * (
            (lower == bin_) * (1 - part) + ((lower + 1) % ORIENTATIONS == bin_) * part
        )
    scales = []
    for cells in GRIDS:
        weights = _WEIGHTS[cells]
        cell = weights @ (maps @ weights.T)  # (n, orientations, cells, cells)
        energy = np.pad((cell**2).sum(axis=1), ((0, 0), (1, 1), (1, 1)))
        around = sum(
            energy[:, y : y + cells, x : x + cells] for y, x in itertools.product(range(3), repeat=2)
        )
        cell = cell / np.sqrt(around + 0.1)[:, None]
        flat = np.sqrt(cell).reshape(n, -1)
        scales.append(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))
    return np.concatenate(scales, axis=1) / np.float32(np.sqrt(len(GRIDS)))


FEATURES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "pixels": (pixels, 784),
    "deslanted": (deslanted, 784),
    "hog": (hog, ORIENTATIONS * sum(cells * cells for cells in GRIDS)),
}
