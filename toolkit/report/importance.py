"""Which hyperparameters matter: how much worse a model of the loss predicts when one of them is shuffled."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FEWEST_TRIALS = 10
LEAST_R2 = 0.1  # of the model of the loss; below, it explains too little to say what matters
LEAST_IMPORTANCE = 0.05  # of a hyperparameter that counts as mattering


@dataclass(frozen=True)
class Importance:
    """The importance of each hyperparameter, the most important first.

    Attributes
    ----------
    names : of the hyperparameters; in parentheses the model's other inputs.
    means, deviations : over the repeats, the share of the variance that is no longer explained.
    r2 : share of the variance of ln(loss) that is explained in held-out trials.
    count : of the trials.
    """

    names: list[str]
    means: list[float]
    deviations: list[float]
    r2: float
    count: int

    @property
    def clear(self) -> bool:
        """Whether the model explains enough of the loss to say what matters."""
        return self.r2 >= LEAST_R2

    def mattering(self) -> dict[str, float]:
        """Return the importance of the hyperparameters that matter, the most important first."""
        bars = zip(self.names, self.means, self.deviations, strict=True)
        sure = {name: mean for name, mean, deviation in bars if mean > max(deviation, LEAST_IMPORTANCE)}
        return {name: mean for name, mean in sure.items() if self.clear and name[0] != "("}


def importance(studies: Sequence[Any], *, repeats: int = 3) -> Importance | None:
    """Return the importance of the hyperparameters in studies of one kind; None if the trials are too few.

    A random forest predicts ln(loss) from the parameters. In trials that it was not fitted on (five-fold
    cross-validation), the importance of a parameter is how much of the variance is no longer explained when
    its values are shuffled (L. Breiman: Random forests, 2001). A parameter that a trial does not have is
    filled with a usual value, so the importance of a parameter's presence counts for the one that decides
    on it. Pruned trials take part with their last loss; epochs and study are further inputs of the forest.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    trials, losses = [], []
    for study in studies:
        for trial in study.trials:
            if trial["state"] in ("finished", "pruned") and (loss := finite(trial.get("loss"))) > 0:
                beside = {"(epochs)": trial.get("epochs"), "(study)": study.name}
                trials.append({**trial["trial_parameters"], **beside})
                losses.append(loss)
    names = [
        name
        for name in dict.fromkeys(name for trial in trials for name in trial)
        if len({str(trial[name]) for trial in trials if trial.get(name) is not None}) > 1
    ]
    # Beyond guessing, how wrong a network is says nothing more about its hyperparameters.
    target = np.log(np.minimum(losses, math.log(10)))
    if len(trials) < FEWEST_TRIALS or not names or np.ptp(target) == 0:
        return None
    inputs = np.column_stack([_encoded([trial.get(name) for trial in trials]) for name in names])
    lost, unexplained = np.zeros((repeats, len(names))), 0.0
    for repeat in range(repeats):
        for train, held in KFold(5, shuffle=True, random_state=repeat).split(inputs):
            forest = RandomForestRegressor(50, random_state=repeat).fit(inputs[train], target[train])
            options: dict[str, Any] = {"scoring": "neg_mean_squared_error", "random_state": repeat}
            shuffled = permutation_importance(forest, inputs[held], target[held], n_repeats=5, **options)
            lost[repeat] += len(held) * shuffled.importances_mean
            unexplained += ((forest.predict(inputs[held]) - target[held]) ** 2).sum() / repeats
    total = len(target) * target.var()
    means, deviations = lost.mean(axis=0) / total, lost.std(axis=0, ddof=1) / total
    order = np.argsort(-means, kind="stable")
    ranked = [names[i] for i in order], means[order].tolist(), deviations[order].tolist()
    return Importance(*ranked, r2=float(1 - unexplained / total), count=len(trials))


def _encoded(values: Sequence[Any]) -> np.ndarray:
    """Return a parameter's values as numbers, float (n,): a category is its rank by frequency."""
    known = [value for value in values if value is not None]
    if are_numbers(known):
        usual = statistics.median_low(known)
        return np.array([usual if value is None else value for value in values], dtype=float)
    ranks = {value: rank for rank, (value, _) in enumerate(Counter(map(str, known)).most_common())}
    return np.array([0 if value is None else ranks[str(value)] for value in values], dtype=float)


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all values are numbers; True and False are not."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def finite(value: Any) -> float:
    """Return a finite number as it is, and NaN for anything else."""
    return float(value) if are_numbers([value]) and math.isfinite(value) else math.nan
