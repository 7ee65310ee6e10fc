"""The engine `wandb`: a sweep of Weights & Biases proposes trials, which join the study."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import tracking
from toolkit.files import InputError
from toolkit.metrics import METRICS
from toolkit.search import Plan
from toolkit.worker import Worker, reason

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 5  # to reach Weights & Biases: 2 s after the first failure, then twice as long each time


def check_account() -> None:
    """Raise InputError when Weights & Biases cannot be reached without asking."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online":
        raise InputError(f"--engine wandb needs Weights & Biases online, and WANDB_MODE is {mode}.")
    if not tracking.has_wandb_key():
        raise InputError("--engine wandb needs an account: run `wandb login`, or set WANDB_API_KEY.")


def find(study: optuna.Study, plan: Plan) -> None:
    """Note the sweep to join in the study: the wanted one, the study's own, or a new one."""
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")  # our own line on each trial says enough
    known = plan.settings.sweep_id or study.user_attrs.get("sweep_id")
    if not known:
        try:
            known = wandb.sweep(sweep_config(plan), project=_project())
        except Exception as error:  # of many kinds, all of them from the network or the server
            raise InputError(f"Weights & Biases made no sweep: {reason(error)}.") from error
    study.set_user_attr("sweep_id", known)


def sweep_config(plan: Plan) -> dict[str, Any]:
    """Return a plan as Weights & Biases has it (https://docs.wandb.ai/models/sweeps).

    It has no conditions, and always proposes every hyperparameter.
    """
    objective = plan.about["objectives"][0]
    config: dict[str, Any] = {
        "name": plan.study,
        "method": "bayes",
        "metric": {
            "name": plan.watched or objective,  # what early stopping reads after every epoch
            "goal": "maximize" if METRICS[objective].maximize else "minimize",
        },
        "parameters": {name: _parameter(distribution) for name, (distribution, _) in plan.space.items()},
    }
    if plan.pruner == "hyperband":
        config["early_terminate"] = {"type": "hyperband", "min_iter": 1, "eta": 3}
    return config


def _parameter(distribution: Any) -> dict[str, Any]:
    if hasattr(distribution, "choices"):
        return {"values": list(distribution.choices)}
    ends = {"min": distribution.low, "max": distribution.high}
    if distribution.log:
        return {"distribution": "log_uniform_values", **ends}
    if isinstance(distribution.low, int):
        return {"distribution": "int_uniform", **ends}
    if distribution.step:
        return {"distribution": "q_uniform", **ends, "q": distribution.step}
    return {"distribution": "uniform", **ends}


def run(worker: Worker, study: optuna.Study) -> None:
    """Run trials that Weights & Biases proposes, one agent a trial, until the study has its total."""
    import wandb

    threading.excepthook = _hide_wandb_finalizer
    failures = 0
    while worker.missing():
        proposal = Proposal(worker, len(study.get_trials(deepcopy=False)))
        failure = None
        try:
            wandb.agent(study.user_attrs["sweep_id"], function=proposal.train, project=_project(), count=1)
        except Exception as error:  # of many kinds, from the network, the server or the client's own process
            wandb.teardown()
            failure = reason(error)
        # wandb.agent swallows KeyboardInterrupt, after which a worker ignores the signal.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        if proposal.error is not None:
            raise proposal.error
        if proposal.trial is not None:
            worker.say(study, proposal.add_to(study))
        failures = failures + 1 if failure else 0
        if failures == ATTEMPTS:
            raise InputError(f"Weights & Biases cannot be reached: {failure}; the same command goes on.")
        if failure:
            time.sleep(2**failures)
        elif proposal.trial is None:
            if not worker.settings.quiet:
                print("Weights & Biases has ended the sweep.", flush=True)
            return


class Proposal:
    """A trial that an agent of Weights & Biases was given.

    The exception by which Weights & Biases stops a trial can come up anywhere in the agent's thread. So
    `train` only keeps what came out, and the thread that runs the agent adds it to the study.
    """

    def __init__(self, worker: Worker, number: int) -> None:
        self.worker, self.number = worker, number
        self.trial: optuna.trial.FixedTrial | None = None
        self.values: tuple[float, ...] | None = None
        self.error: InputError | None = None

    def train(self) -> None:
        """Train the trial; the function of the agent."""
        import yaml
        from optuna.trial import FixedTrial

        try:
            # A file that the agent leaves for `wandb.init`.
            content = yaml.safe_load(Path(os.environ["WANDB_SWEEP_PARAM_PATH"]).read_text())
            proposal = {
                name: entry["value"]
                for name, entry in content.items()
                if isinstance(entry, dict) and "value" in entry
            }
            self.trial = FixedTrial(read_proposal(self.worker.plan.space, proposal), self.number)
            self.values = self.worker.objective(self.trial)
        except InputError as error:
            self.error = error if self.trial is None else None
        except Exception:
            pass  # a pruned trial, or a failed one, which has its reason

    def add_to(self, study: optuna.Study) -> optuna.trial.FrozenTrial:
        """Add the trial to the study."""
        from optuna.trial import TrialState, create_trial

        assert self.trial is not None
        failed = "reason" in self.trial.user_attrs
        frozen = create_trial(
            state=TrialState.COMPLETE if self.values else TrialState.FAIL if failed else TrialState.PRUNED,
            values=self.values,
            params=self.trial.params,
            distributions=self.trial.distributions,
            user_attrs=self.trial.user_attrs,
        )
        frozen.datetime_start = self.trial.datetime_start
        study.add_trial(frozen)
        # Its number is known now.
        return next(trial for trial in reversed(study.get_trials()) if trial.params == frozen.params)


def read_proposal(space: Mapping[str, Any], proposal: Mapping[str, Any]) -> dict[str, Any]:
    """Return a proposal with each value as its distribution has it. JSON does not tell 3 from 3.0.

    Raises InputError when a value is missing or outside the space.
    """
    result = {}
    for name, (distribution, _) in space.items():
        proposed: Any = proposal.get(name)
        try:
            value = distribution.to_external_repr(distribution.to_internal_repr(proposed))
            if hasattr(distribution, "low"):
                # The end of a logarithmic range may be missed by a rounding error.
                value = min(max(value, distribution.low), distribution.high)
                if not math.isclose(value, float(proposed), rel_tol=1e-9):
                    raise ValueError
        except (TypeError, ValueError):
            raise InputError(
                "the sweep of Weights & Biases is not of this search space: "
                f"the proposed {name!r}, {proposed!r}, is not in the space."
            ) from None
        result[name] = value
    return result


def _hide_wandb_finalizer(arguments: Any) -> None:
    # A thread of wandb 0.31 complains at every trial: the agent ends the process that the thread talks to.
    if getattr(arguments.thread, "name", "") != "wandb-ServiceFinalizer":
        threading.__excepthook__(arguments)


def _project() -> str:
    return os.environ.get("WANDB_PROJECT") or tracking.WANDB_PROJECT
