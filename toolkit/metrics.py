"""What is measured, in one table: how to compute it, which direction is better, and how people read it.

    metrics = evaluate(test_set.labels, classifier.predict_proba(test_set.images))
    METRICS["accuracy"].text(metrics["accuracy"])      # "99.52 %"

A row is all that a new metric needs: with `compute` it is part of every test, every trial and the report;
without, whoever measures it (a training, a sweep) puts it under the row's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.files import InputError

import numpy as np

Compute = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes
    ----------
    label : what people read.
    maximize : whether more is better.
    unit : how it is shown; `factor` turns the recorded number into it.
    digits : decimals shown; None shows three significant digits.
    compute : from labels, int (n,), and probabilities, float32 (n, 10), where it follows from these.
    """

    label: str
    maximize: bool
    unit: str = ""
    factor: float = 1.0
    digits: int | None = None
    compute: Compute | None = None

    def text(self, value: float | None, language: str = "en") -> str:
        """Return a recorded value with its unit, or a dash when there is none."""
        shown = number(None if value is None else self.factor * value, self.digits, language)
        return f"{shown}\N{NO-BREAK SPACE}{self.unit}" if self.unit and shown != "–" else shown


def share(label: str, compute: Compute | None = None) -> Metric:
    """Describe a metric from 0 to 1, more is better, shown in percent."""
    return Metric(label, True, "%", 100, 2, compute)


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _over_digits(score: str, average: Callable[[np.ndarray], Any]) -> Compute:
    """Compute the mean or lowest score over the digits that occur: "precision", "recall" or "f1"."""

    def compute(labels: np.ndarray, probabilities: np.ndarray) -> float:
        from sklearn import metrics

        # For the mean, as usual, a digit that is only among the answers counts, too.
        digits = np.unique(labels) if average is np.min else None
        options: dict[str, Any] = {"labels": digits, "average": None, "zero_division": 0}
        return float(average(getattr(metrics, f"{score}_score")(labels, probabilities.argmax(1), **options)))

    return compute


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    # float32: no probability counts as less than its resolution, 1.2e-7, so one certain error stays finite.
    return float(log_loss(labels, probabilities.astype(np.float32), labels=range(10)))


METRICS: dict[str, Metric] = {
    "accuracy": share("accuracy", _accuracy),
    "macro_precision": share("macro precision", _over_digits("precision", np.mean)),
    "macro_recall": share("macro recall", _over_digits("recall", np.mean)),
    "macro_f1": share("macro F1", _over_digits("f1", np.mean)),
    "worst_precision": share("worst precision", _over_digits("precision", np.min)),
    "worst_recall": share("worst recall", _over_digits("recall", np.min)),
    "log_loss": Metric("log loss", False, digits=4, compute=_log_loss),
    "loss": Metric("validation loss", False, digits=4),  # what a search minimises: the log loss
    "drawn_accuracy": share("accuracy on drawings"),
    "latency": Metric("time of an answer", False, "ms", 1e3, 2),  # seconds, for one image
    "size": Metric("model file", False, "MB", 1e-6, 2),  # bytes
    "parameters": Metric("parameters", False, digits=0),
    "train_seconds": Metric("training time", False, "s", digits=0),
    "epochs": Metric("epochs", False, digits=0),
    **{f"{name}_{d}": share(f"{name} of {d}") for name in ("precision", "recall", "f1") for d in range(10)},
}


def evaluate(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Compute every metric that follows from predictions, as plain numbers and lists, ready for JSON.

    Parameters
    ----------
    labels : integers (n,), 0 to 9, n at least 1.
    probabilities : floats (n, 10), rows summing to 1; the prediction is a row's argmax.

    Returns
    -------
    Each metric of the table that has `compute`, by its name, and
    per_class : {"precision", "recall", "f1", "support"}, lists of ten; support counts the labels.
    confusion : ten rows, one for each true digit, of ten counts, one for each predicted digit.

    Raises
    ------
    ValueError : shapes, labels or probabilities that are not as above.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or not len(labels) or probabilities.shape != (len(labels), 10):
        raise ValueError(
            "wanted labels of shape (n,) with n from 1, and probabilities (n, 10); "
            f"got {labels.shape} and {probabilities.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() > 9:
        raise ValueError("wanted whole numbers from 0 to 9 as labels.")
    if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("wanted finite probabilities whose rows sum to 1.")
    predicted = probabilities.argmax(axis=1)
    scores = precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0)
    names = ("precision", "recall", "f1", "support")
    return {
        **{name: row.compute(labels, probabilities) for name, row in METRICS.items() if row.compute},
        "per_class": {name: values.tolist() for name, values in zip(names, scores, strict=True)},
        "confusion": confusion_matrix(labels, predicted, labels=range(10)).tolist(),
    }


def headline(metrics: Mapping[str, Any]) -> str:
    """Return one line: `accuracy 99.65 % (35 of 10,000 wrong), log loss 0.0119`."""
    confusion = np.array(metrics["confusion"])
    total, wrong = confusion.sum(), confusion.sum() - confusion.trace()
    accuracy, loss = (METRICS[name].text(metrics[name]) for name in ("accuracy", "log_loss"))
    return f"accuracy {accuracy} ({wrong:,} of {total:,} wrong), log loss {loss}"


def check_names(names: list[str]) -> list[str]:
    """Return the names of metrics. Raises InputError for an unknown one, and for one that is given twice."""
    for name in names:
        if name not in METRICS:
            short = ", ".join(key for key in METRICS if key[-1] not in "0123456789")
            raise InputError(f"unknown objective {name!r}; known are {short}, precision_0 to f1_9.")
    if len(set(names)) < len(names):
        raise InputError(f"an objective is given twice: {', '.join(names)}.")
    return names


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the metrics of each digit under a name of its own, `precision_0` to `f1_9`."""
    result = {name: value for name, value in record.items() if name != "per_class"}
    for name, values in record.get("per_class", {}).items():
        result.update({f"{name}_{digit}": value for digit, value in enumerate(values)})
    return result


def number(value: float | None, digits: int | None = None, language: str = "en") -> str:
    """Write a number with so many decimals, else with three significant digits; a dash when there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if digits is None and abs(value) >= 1000:
        digits = 0
    text = f"{value:.3g}" if digits is None else f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.removeprefix("-")  # what rounds to zero has no sign
    if language == "es":
        text = text.replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")
    return text.replace("-", "\N{MINUS SIGN}") if text.startswith("-") else text
