"""What report.typ shows of the sweeps: trials, what matters, single configurations, fronts, the choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit import figures
from toolkit.report import plots
from toolkit.report.diagnosis import Diagnosis, diagnose
from toolkit.report.importance import FEWEST_TRIALS, Importance, are_numbers, finite
from toolkit.report.results import FREE, Results, Study, same
from toolkit.report.sections import (
    Draw,
    because,
    configuration,
    judged,
    labelled,
    missing,
    sentence,
    values_of,
)
from toolkit.report.texts import Texts, capital

import numpy as np

MOST_ROWS = 9  # of a study in the table of the fronts
MOST_SLICES = 4  # hyperparameters of a study
FEW_SETTINGS = 3  # of a trial, in a table
Found = Mapping[str, Importance | None]
Panels = Mapping[tuple[str, str], Sequence[Any]]  # names of two metrics -> a `pareto.Front` of each study

# Trials worth a look beside the best one: what they are called, and what must hold for the configurations of
# the trial and of the best.
VARIANTS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    "no convolutions": lambda own, best: own.get("conv_channels") == [],
    "another optimiser": lambda own, best: own.get("optimizer") != best.get("optimizer"),
    "dropout": lambda own, best: own.get("dropout", 0) >= 0.1,
    "another kernel": lambda own, best: own.get("kernel") != best.get("kernel"),
    "other features": lambda own, best: own.get("features") != best.get("features"),
}


def searches(
    results: Results, found: Found, swept: Sequence[str], texts: Texts, draw: Draw
) -> dict[str, Any]:
    rows, reasons = [], []
    for study in results.studies:
        finished, failed = study.ended("finished"), study.ended("failed")
        counts = [len(finished), len(study.ended("pruned")), len(failed)]
        states = map(str, [*counts, len(study.trials) - sum(counts)])
        loss = texts.metric("loss", min(values_of(finished, "loss"), default=None))
        accuracy = texts.metric("accuracy", max(values_of(finished, "accuracy"), default=None))
        name = labelled(study_name(study, results), results, study.source, texts)
        images = {texts.number(value, 0) for value in values_of(study.trials, "images")}
        rows.append([name, " / ".join(sorted(images)) or texts.word("full"), *states, loss, accuracy])
        told = Counter(str(trial.get("reason", "–")).strip()[:200] for trial in failed)
        reasons += [[study.name, text, str(count)] for text, count in told.most_common(5)]
    studies = {study_name(s, results): s for s in results.main_studies().values() if s.ended("finished")}
    clear = {kind: entry for kind, entry in found.items() if entry and entry.mattering()}
    named = {results.names[kind]: entry for kind, entry in clear.items()}
    slices = []
    for name, study in studies.items():
        if entry := found.get(study.kind):
            names = [name for name in entry.names if name[0] != "("][:MOST_SLICES]
            figure = plots.slices(names, study.trials, name, **texts.for_figures)
            slices.append({"file": draw(f"slices-{study.kind}", figure), "model": name})
    drawn = {name: study.trials for name, study in studies.items()}
    return {
        "rows": rows,
        "reasons": reasons,
        "history": draw("history", plots.history(drawn, **texts.for_figures)) if drawn else None,
        "slices": slices,
        "importance": draw("importance", plots.importance(named, **texts.for_figures)) if named else None,
        "trust": "; ".join(f"{name} {texts.number(e.r2, 2)} ({e.count})" for name, e in named.items()),
        "best": [row for kind, entry in clear.items() for row in _best_values(kind, entry, results, texts)],
        "few": [results.names[kind] for kind, entry in found.items() if entry is None],
        "unclear": [
            sentence("unclear", model=texts.the(kind, results.names), r2=texts.number(e.r2, 2))
            for kind, e in found.items()
            if e and not e.mattering()
        ],
        "fewest": str(FEWEST_TRIALS),
        "missing": missing("sweep", swept, [study.kind for study in results.studies]),
    }


def study_name(study: Study, results: Results) -> str:
    """Return the model's name for its usual study, and another study's own name."""
    return results.names.get(study.kind, study.kind) if study.name == study.kind else study.name


def _best_values(kind: str, entry: Importance, results: Results, texts: Texts) -> list[list[str]]:
    """Return rows: important hyperparameters, and what the best quarter of the trials has for them."""
    finished = [trial for study in results.studies if study.kind == kind for trial in study.ended("finished")]
    ranked = sorted((t for t in finished if values_of([t], "loss")), key=lambda trial: trial["loss"])
    rows = []
    for name, mean in entry.mattering().items():
        values = [t["trial_parameters"][name] for t in ranked if name in t["trial_parameters"]]
        values = values[: -(-len(values) // 4)]
        if not values:  # only pruned trials have it
            continue
        if are_numbers(values):
            ends = dict.fromkeys([texts.value(min(values)), texts.value(max(values))])
            text = f" {texts.word('to')} ".join(ends)
        else:
            counts = Counter(map(texts.value, values)).most_common(3)
            text = ", ".join(f"{value} ({count})" for value, count in counts)
        rows.append([results.names[kind], name, texts.number(mean, 2), text])
    return rows


def configurations(results: Results, found: Found, texts: Texts, draw: Draw) -> dict[str, Any]:
    """Return several trials of each study: a row with a diagnosis, learning curves, confusion matrices."""
    rows, curves, matrices = [], [], []
    for kind, study in results.main_studies().items():
        ranked = sorted(
            (t for t in study.ended("finished") if values_of([t], "loss")), key=lambda t: t["loss"]
        )
        name, still = study_name(study, results), []
        for roles, trial in _telling(ranked):
            history = trial.get("history") or []
            last = {f"val_{what}": trial.get(what, math.nan) for what in ("loss", "accuracy")}
            judgement = diagnose(history or [{**trial, **last}])
            title = f"{name} {trial['number']}: {', '.join(map(texts.word, roles))}"
            rows.append(_row(title, trial, judgement, found.get(kind), texts))
            if len(history) > 1 and trial.get("confusion"):
                figure = plots.training_and_confusion(history, trial, **texts.for_figures)
                file = draw(f"trial-{kind}-{trial['number']}", figure)
                verdict, why = capital(texts.word(judgement.verdict)), because(judgement, texts)
                curves.append({"file": file, "run": title, "verdict": verdict, "why": why})
            elif trial.get("confusion"):
                still.append((f"{title}\n{texts.word(judgement.verdict)}", trial))
        for start in range(0, len(still), 3):
            figure = plots.confusions(still[start : start + 3], **texts.for_figures)
            matrices.append({"file": draw(f"trials-{kind}-{start}", figure), "model": name})
    return {"rows": rows, "curves": curves, "matrices": matrices}


def _telling(ranked: Sequence[dict[str, Any]]) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the best, the median and the worst trial, and the best of each variant, with what they are."""
    if not ranked:
        return []
    best = ranked[0]["config"]
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    for variant, applies in VARIANTS.items():
        others = [place for place, trial in enumerate(ranked) if place and applies(trial["config"], best)]
        places |= {variant: others[0]} if others else {}
    roles: dict[int, list[str]] = {}
    for role, place in places.items():
        roles.setdefault(place, []).append(role)
    return [(own, ranked[place]) for place, own in roles.items()]


def _row(
    title: str, trial: Mapping[str, Any], found: Diagnosis, entry: Importance | None, texts: Texts
) -> list[str]:
    train, val, gap, *_ = judged(found, texts)
    return [title, _settings(trial, entry, texts), train, val, gap, texts.word(found.verdict)]


def _settings(
    trial: Mapping[str, Any], entry: Importance | None, texts: Texts, names: Sequence[str] = ()
) -> str:
    """Write a trial's hyperparameters, all or those that are named, the most important first."""
    own = trial["trial_parameters"]
    names = [name for name in names or own if name in own]
    if entry:
        names.sort(key=lambda name: entry.names.index(name) if name in entry.names else 99)
    return configuration(own, texts, names[:FEW_SETTINGS])


def fronts(results: Results, panels: Panels, found: Found, texts: Texts, draw: Draw) -> dict[str, Any] | None:
    """Return the figures of the fronts, and a row for each trial on one; None without finished trials.

    Parameters
    ----------
    panels : names of two metrics -> a `pareto.Front` of each study.
    """
    finished = {pair: [front for front in own if front.finished] for pair, own in panels.items()}
    panels = {pair: own for pair, own in finished.items() if own}
    if not panels:
        return None
    first = {front.name: front for front in panels.get(("macro_precision", "macro_recall"), [])}
    studies, chosen = results.main_studies(), chosen_numbers(results, first)
    pairs = {pair: own for pair, own in panels.items() if "recall" in pair[1]}
    others = {pair: own for pair, own in panels.items() if pair not in pairs}

    def front_figure(name: str, some: Panels) -> str | None:
        figure = figures.front_panels(some, chosen=chosen, **texts.for_figures) if some else None
        return draw(name, figure) if figure else None

    on: dict[tuple[str, int], list[str]] = {}  # study and trial -> the fronts that it is on
    for pair, own in panels.items():
        for front in own:
            for index in np.flatnonzero(front.optimal):
                on.setdefault((front.name, front.finished[index]["number"]), []).append(pair[0])
    rows, total, digits = [], 0, {}
    for kind, study in studies.items():
        name = study_name(study, results)
        trials = [trial for trial in study.ended("finished") if (name, trial["number"]) in on]
        names = _differing(trials)
        total += len(trials)
        for trial in sorted(trials, key=lambda trial: -trial.get("macro_f1", 0))[:MOST_ROWS]:
            number = trial["number"]
            mark = " *" if chosen.get(name) == number else ""
            shown = ("macro_precision", "macro_recall", "drawn_accuracy", "latency", "size")
            reached = [texts.metric(metric, trial.get(metric)) for metric in shown]
            of = ", ".join(texts.word(SHORT[metric]) for metric in on[name, number])
            rows.append(
                [f"{name} {number}{mark}", of, *reached, _settings(trial, found.get(kind), texts, names)]
            )
        for trial in study.ended("finished"):
            if trial["number"] == chosen.get(name) and "recall_0" in trial:
                digits[f"{name} {trial['number']}"] = trial
    return {
        "pairs": front_figure("fronts", pairs),
        "digits": draw("by-digit", plots.by_digit(digits, **texts.for_figures)) if digits else None,
        "others": front_figure("other-fronts", others),
        "rows": rows,
        "total": str(total),
        "choice": [
            _choice(study, first[name], results, found, texts)
            for study in studies.values()
            if (name := study_name(study, results)) in first
        ],
    }


SHORT = {  # the first metric of a pair -> the front's name in the table
    "macro_precision": "mean",
    "worst_precision": "worst digit",
    "accuracy": "time",
    "drawn_accuracy": "drawings",
}


def chosen_numbers(results: Results, first: Mapping[str, Any]) -> dict[str, int]:
    """Return, by the name of a front, the trial that the final model follows, else the one of the rule."""
    known = results.chosen_trials()
    names = {study_name(study, results): study.name for study in results.main_studies().values()}
    return {name: known.get(names[name], by_rule(front)["number"]) for name, front in first.items()}


def by_rule(front: Any) -> dict[str, Any]:
    """Return the trial that the rule of the report chooses from a front of macro precision and macro recall.

    It is the one with the highest macro F1; among equal ones, that with the lowest loss.
    """
    best = [front.finished[index] for index in np.flatnonzero(front.optimal)]
    return max(best, key=lambda trial: (trial.get("macro_f1", 0), -trial.get("loss", math.inf)))


def _choice(study: Study, front: Any, results: Results, found: Found, texts: Texts) -> list[dict[str, Any]]:
    """Say which trial the rule chooses, how sure that is, and what the final model made of it."""
    ruled, kind, finished = by_rule(front), study.kind, study.ended("finished")
    model, number = texts.the(kind, results.names), str(ruled["number"])

    def f1(trial: Mapping[str, Any]) -> str:
        return texts.metric("macro_f1", trial.get("macro_f1"))

    said = [
        sentence(
            "choice_trial" if front.optimal.sum() > 1 else "choice_only",
            model=model,
            count=str(front.optimal.sum()),
            number=number,
            settings=_settings(ruled, found.get(kind), texts),
            precision=texts.metric("macro_precision", ruled.get("macro_precision")),
            recall=texts.metric("macro_recall", ruled.get("macro_recall")),
            f1=f1(ruled),
        )
    ]
    accuracy, images = ruled.get("accuracy"), sum(ruled.get(f"support_{digit}", 0) for digit in range(10))
    if accuracy and images:
        error = math.sqrt(accuracy * (1 - accuracy) / images)
        near = sum(value >= accuracy - error for value in values_of(finished, "accuracy")) - 1
        counts = {"near": str(near), "others": str(len(finished) - 1), "images": texts.number(images, 0)}
        said.append(sentence("choice_chance", error=texts.points(error), **counts))
    config = results.configs[kind]
    start = next((trial for trial in finished if same(config, trial["config"], {}, but=FREE)), None)
    others = [trial for trial in finished if trial is not start]
    if start is ruled and others:
        best = max(others, key=lambda trial: trial.get("macro_f1", 0))
        tried = {"tried": str(len(others)), "other": str(best["number"])}
        said.append(sentence("choice_start", other_f1=f1(best), **tried))
    elif start is not None:
        said.append(sentence("choice_against", start=str(start["number"]), start_f1=f1(start), f1=f1(ruled)))
    return [*said, *_final(study, ruled, results, texts)]


def _final(study: Study, ruled: Mapping[str, Any], results: Results, texts: Texts) -> list[dict[str, Any]]:
    """Say whether the final model has the configuration that the rule chose, or which trial's it has."""
    for model in (model for model in results.models if model.kind == study.kind):
        trained = model.classifier.trained_on
        like_it = [
            trial["number"]
            for trial in (ruled, *study.ended("finished"))
            if same(results.configs[study.kind], trial["config"], trained.get("config", {}), but=FREE)
        ]
        follows = results.chosen_trials().get(study.name, next(iter(like_it), None))
        key = "choice_not_taken" if follows is None else "choice_other_trial"
        if follows == ruled["number"]:
            key = "choice_final"
        count = texts.number(finite(trained.get("count")), 0)
        said = [sentence(key, path=[model.path.name], count=count, other=str(follows))]
        return [*said, sentence("choice_why_not")] if key != "choice_final" and results.notes else said
    return []


def _differing(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the hyperparameters that are not the same in all of these trials."""
    names = dict.fromkeys(name for trial in trials for name in trial["trial_parameters"])
    return [n for n in names if len({str(trial["trial_parameters"].get(n)) for trial in trials}) > 1]
