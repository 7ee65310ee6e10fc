"""What the numbers say, in sentences: the summary at the top of the report, and the discussion at its end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from toolkit.report.importance import Importance
from toolkit.report.results import Model, Results
from toolkit.report.sections import SCORES, because, name_of, sentence
from toolkit.report.texts import Texts

import numpy as np

CERTAIN = 0.05  # p below which a difference is more than chance
Sentences = list[dict[str, Any]]


def summary(results: Results, found: dict[str, Importance | None], texts: Texts) -> Sentences:
    """Return what a reader should know first."""
    tested = _tested(results)
    said = [_reached(model, tested, results, texts) for model in tested]
    if len(tested) > 1:
        worst = max(tested, key=lambda model: model.metrics["worst_recall"])
        said.append(
            sentence(
                "sum_worst", model=_the(worst, results, texts), recall=_metric(worst, "worst_recall", texts)
            )
        )
        said.append(_costs(tested, results, texts))
    if results.drawn and results.models:
        best = max(results.models, key=lambda model: model.metrics["drawn_accuracy"])
        accuracy, drawings = _metric(best, "drawn_accuracy", texts), [results.drawn.name]
        said.append(
            sentence("sum_drawn", model=_the(best, results, texts), accuracy=accuracy, drawings=drawings)
        )
    said += [_effect(entry, results, texts) for entry in _comparisons(results, "framed")]
    said += _matter(results, found, texts)
    verdicts: dict[str, list[str]] = {}
    for run in results.trainings:
        verdicts.setdefault(texts.word(run.diagnosis.verdict), []).append(name_of(run, results, texts))
    listed = "; ".join(f"{verdict} ({'; '.join(runs)})" for verdict, runs in verdicts.items())
    return said + ([sentence("sum_verdicts", verdicts=listed)] if listed else [])


def discussion(
    results: Results,
    found: dict[str, Importance | None],
    best: Sequence[Sequence[str]],
    texts: Texts,
) -> list[dict[str, Any]]:
    """Return parts of a heading and sentences.

    Parameters
    ----------
    best : rows of `sweeps.searches`: model, hyperparameter, importance, values in the best trials.
    """
    values = [sentence("d_values", model=model, name=[name], values=text) for model, name, _, text in best]
    trainings = [
        sentence("d_training", run=name_of(run, results, texts), verdict=texts.word(run.diagnosis.verdict))
        | {"then": because(run.diagnosis, texts)}
        for run in results.trainings
    ]
    shown = {"test": _tested(results), "seeds": results.studies, "writers": results.means or results.drawn}
    compared, equal = _which(results, texts)
    parts: dict[str, list[Sentences]] = {
        "Which classifier": compared,
        "What augmentation does, and what it does not": _augmentation(results, texts),
        "Where the models err": _errors(results, texts),
        "Over- and underfitting": [trainings],
        "What the searches found": [[*_matter(results, found, texts), *values]],
        "What these numbers do not say": [[sentence(f"d_limit_{name}") for name in shown if shown[name]]],
        "Conclusion": [_conclusion(equal, results, texts)],
    }
    return [{"heading": heading, "paragraphs": said} for heading, said in parts.items() if any(said)]


def _tested(results: Results) -> list[Model]:
    """Return the models that were tested, the most accurate first."""
    tested = [model for model in results.models if model.probabilities is not None]
    return sorted(tested, key=lambda model: -model.metrics["accuracy"])


def _the(model: Model, results: Results, texts: Texts, *, first: bool = False) -> str:
    return texts.the(model.kind, results.names, first=first)


def _metric(model: Model, name: str, texts: Texts) -> str:
    return texts.metric(name, model.metrics[name])


def _reached(model: Model, tested: Sequence[Model], results: Results, texts: Texts) -> dict[str, Any]:
    assert results.test is not None
    key = "sum_best" if model is tested[0] else "sum_other"
    numbers = {"errors": texts.number(model.errors, 0), "total": texts.number(len(results.test), 0)}
    named = {"model": _the(model, results, texts), "Model": _the(model, results, texts, first=True)}
    return sentence(key, accuracy=_metric(model, "accuracy", texts), **numbers, **named)


def _costs(tested: Sequence[Model], results: Results, texts: Texts) -> dict[str, Any]:
    small, fast = (min(tested, key=lambda model: model.metrics[name]) for name in ("size", "latency"))
    return sentence(
        "sum_costs",
        small=_the(small, results, texts),
        size=_metric(small, "size", texts),
        fast=_the(fast, results, texts),
        latency=_metric(fast, "latency", texts),
    )


def _matter(results: Results, found: dict[str, Importance | None], texts: Texts) -> Sentences:
    """Say which hyperparameters matter."""
    said = []
    for kind, entry in found.items():
        names = list(entry.mattering())[:3] if entry else []
        model = texts.the(kind, results.names)
        if names:
            said.append(sentence("sum_importance", model=model, names=names))
        elif entry:
            said.append(sentence("sum_no_importance", model=model))
    return said


def _which(results: Results, texts: Texts) -> tuple[list[Sentences], list[Model]]:
    """Compare each model with the next best on the same images, and say what each costs and why it is so.

    Also return the models that the test cannot tell from the best.
    """
    from scipy.stats import binomtest

    tested, compared, costs = _tested(results), [], []
    equal = tested[:1]  # to the best, as far as the test can tell
    if results.test is None:
        return [], []
    for better, worse in pairwise(tested):
        right = [m.answers == results.test.labels for m in (better, worse)]
        only = [int((one & ~other).sum()) for one, other in (right, right[::-1])]
        p = float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
        if p >= CERTAIN and better is equal[-1]:
            equal.append(worse)
        compared.append(
            sentence(
                "d_better" if p < CERTAIN else "d_chance",
                Better=_the(better, results, texts, first=True),
                worse=_the(worse, results, texts),
                better_errors=texts.number(better.errors, 0),
                worse_errors=texts.number(worse.errors, 0),
                one=texts.number(only[0], 0),
                other=texts.number(only[1], 0),
                p=f"< {texts.number(0.001)}" if p < 0.001 else f"= {texts.number(p, 3)}",
            )
        )
    for model in tested:
        cost = {name: _metric(model, name, texts) for name in ("size", "latency", "parameters")}
        config = model.classifier.config.values()
        why = {
            "softmax": True,
            "svm": config.get("features") == "hog",
            "ann": bool(config.get("conv_channels")),
        }
        costs.append([sentence("d_cost", Model=_the(model, results, texts, first=True), **cost)])
        if why.get(model.kind):
            costs[-1].append(sentence(f"why_{model.kind}"))
    return [compared, *costs], equal


def _conclusion(equal: Sequence[Model], results: Results, texts: Texts) -> Sentences:
    """Say which classifier to take, and whether to train it with augmentation."""
    if not equal or len(_tested(results)) < 2:
        return []
    best, named = equal[0], {}
    if len(equal) > 1:
        for what, name in (("small", "size"), ("fast", "latency")):
            named[what] = _the(min(equal, key=lambda model: model.metrics[name]), results, texts)
        said = [sentence("d_equal", Model=_the(best, results, texts, first=True), **named)]
    else:
        said = [sentence("d_take", model=_the(best, results, texts))]
    changed = {entry.test_set: entry for entry in _comparisons(results) if entry.model == best.kind}
    if {"framed", "test"} <= changed.keys() and changed["framed"].low > 0 and changed["test"].high >= 0:
        said.append(sentence("d_augment"))
    return said


def _comparisons(results: Results, *test_sets: str) -> list[Any]:
    """Return what full augmentation changed."""
    there = [c for c in results.comparisons if c.setting == "all" and c.low is not None]
    return [c for c in there if not test_sets or c.test_set in test_sets]


def _effect(entry: Any, results: Results, texts: Texts) -> dict[str, Any]:
    name = "raises" if entry.low > 0 else "lowers" if entry.high < 0 else "unclear"
    ends = entry.low, entry.difference, entry.high
    low, difference, high = map(texts.points, ends if name == "unclear" else sorted(map(abs, ends)))
    where = texts.sentences[f"on_{entry.test_set}"].strip()
    numbers = {"low": low, "difference": difference, "high": high}
    return sentence(f"sum_{name}", model=texts.the(entry.model, results.names), where=where, **numbers)


def _augmentation(results: Results, texts: Texts) -> list[Sentences]:
    """Say what full augmentation does to each model on each test set, and what it cannot replace."""
    by_model: dict[str, Sentences] = {}
    for entry in _comparisons(results):
        by_model.setdefault(entry.model, []).append(_effect(entry, results, texts))
    reached = {(mean.model, mean.setting, mean.test_set): mean.mean for mean in results.means}
    for (model, setting, test_set), framed in reached.items():
        bare = reached.get((model, setting, "canvas"))
        if (setting, test_set) == ("all", "framed") and bare is not None:
            shares = {"framed": texts.percent(framed), "bare": texts.percent(bare)}
            by_model.setdefault(model, []).append(
                sentence("d_framing", model=texts.the(model, results.names), **shares)
            )
    return list(by_model.values())


def _errors(results: Results, texts: Texts) -> list[Sentences]:
    """Say what each model misses most, which of its answers are wrong most often, and what it confuses."""
    said: Sentences = []
    for model in _tested(results):
        scores = {name: np.array(model.metrics["per_class"][name]) for name in SCORES[:2]}
        lowest = {name: int(values.argmin()) for name, values in scores.items()}
        counts = np.array(model.metrics["confusion"]) * ~np.eye(10, dtype=bool)
        places = [divmod(int(place), 10) for place in np.argsort(-counts, axis=None, kind="stable")[:3]]
        said.append(
            sentence(
                "d_errors",
                Model=_the(model, results, texts, first=True),
                missed=str(lowest["recall"]),
                recall=texts.percent(scores["recall"].min()),
                taken=str(lowest["precision"]),
                precision=texts.percent(scores["precision"].min()),
                pairs=", ".join(f"{t} → {r} ({counts[t, r]})" for t, r in places if counts[t, r]) or "–",
            )
        )
    if len(said) > 1 and results.test is not None:
        wrong = [m.answers != results.test.labels for m in _tested(results)]
        said.append(sentence("d_shared", count=texts.number(int(np.all(wrong, axis=0).sum()), 0)))
    return [said]
