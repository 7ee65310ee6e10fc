"""Time from the command to a saved network, against the usual recipe (`recipe.py`)."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import BENCH, ROOT, Settings, run, spread, table, write_mnist

# The quickest flags of train_ann.py that reach each accuracy (%) on MNIST's test images.
COMMANDS = {
    99.0: "--fast --epochs 1",
    99.4: "--fast --epochs 3",
}
TITLE = "Time to a first network"
MINUTES = 10
RECIPE = 14  # epochs that the usual recipe has


def config(target: float) -> Any:
    """Return the `train_ann.Config` of a command."""
    import train_ann
    from toolkit import training

    return training.parse("ann", None, train_ann.Config, COMMANDS[target].split(), fast=train_ann.FAST).config


def ours(target: float, seed: int, settings: Settings, folder: str) -> dict[str, Any]:
    """Run one of the commands; return its seconds until the model file was written, and its accuracy."""
    from ann import ANN

    model = Path(folder) / f"{target}-{seed}.safetensors"
    words = [*COMMANDS[target].split(), *settings.flags(), "--seed", seed, "--output", model]
    started = time.time()
    run(ROOT / "train_ann.py", *words, "--quiet", "--wandb", "disabled", folder=folder)
    seconds = model.stat().st_mtime - started
    test = settings.load("test")
    accuracy = float((ANN.load(model).predict(test.images) == test.labels).mean())
    print(f"  {target} %, seed {seed}: {seconds:.1f} s, {100 * accuracy:.2f} %", flush=True)
    return {"seed": seed, "seconds": seconds, "accuracy": accuracy}


def recipe(settings: Settings, folder: str) -> list[dict[str, Any]]:
    """Run the usual recipe; return for each epoch the seconds until then, without measuring, and accuracy."""
    command = [sys.executable, BENCH / "recipe.py", "--data", folder, "--epochs", settings.recipe_epochs]
    epochs = []
    started = time.time()
    with subprocess.Popen(list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                epoch = json.loads(line)
                epoch["seconds"] = epoch.pop("saved") - started - epoch.pop("measuring")
                epochs.append(epoch)
                shown = f"{epoch['seconds']:.1f} s, {100 * epoch['accuracy']:.2f} %"
                print(f"  usual recipe, epoch {epoch['epoch']}: {shown}", flush=True)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "recipe.py")
    return epochs


def measure(settings: Settings) -> dict[str, Any]:
    """Time the commands with a seed each time, the recipe once, after our first ones."""
    result: dict[str, Any] = {"commands": {}, "ours": {}, "recipe": []}
    with tempfile.TemporaryDirectory() as folder:
        write_mnist(folder, settings)
        for seed in range(settings.repeats):
            for target, flags in COMMANDS.items():
                result["commands"][str(target)] = flags
                own = result["ours"].setdefault(str(target), [])
                own.append(ours(target, seed, settings, folder))
            if seed == 0:
                result["recipe"] = recipe(settings, folder)
    return result


def page(result: dict[str, Any]) -> str:
    """Write the result as Markdown."""
    rows = [["accuracy", "`train_ann.py`", "accuracy, each seed", "usual recipe", "ratio"]]
    for target, runs in result["ours"].items():
        seconds, accuracies = ([run[key] for run in runs] for key in ("seconds", "accuracy"))
        theirs, words = until(float(target), result["recipe"])
        reached = 100 * statistics.median(accuracies) >= float(target)
        ratio = f"**{theirs / statistics.median(seconds):.1f}**" if reached else "not reached"
        shown = ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
        rows.append([f"{target} %", spread(seconds), f"{shown} %", words, ratio])
    commands = [f"    train_ann.py {flags}    # {target} %" for target, flags in result["commands"].items()]
    epochs = [f"{epoch['seconds']:.0f} s ({100 * epoch['accuracy']:.2f} %)" for epoch in result["recipe"]]
    return f"""From the start of a fresh process to the written model file, against PyTorch's MNIST example
(`bench/recipe.py`, run once, without the time in which its accuracy is measured). The commands are fixed:

{chr(10).join(commands)}

Whether a finished network reads so many of MNIST's test images is what is measured. Nothing is chosen by it.

{table(*rows)}

The usual recipe after each epoch: {", ".join(epochs)}."""


def until(target: float, epochs: list[dict[str, Any]]) -> tuple[float, str]:
    """Return the recipe's seconds to an accuracy (%), and in words; else those of its 14 epochs."""
    for epoch in epochs:
        if 100 * epoch["accuracy"] >= target:
            return epoch["seconds"], f"{epoch['seconds']:.0f} s (epoch {epoch['epoch']})"
    last = epochs[-1]
    if last["epoch"] >= RECIPE:
        return last["seconds"], f"never; its {RECIPE} epochs take {last['seconds']:.0f} s"
    each = [after["seconds"] - before["seconds"] for before, after in itertools.pairwise(epochs)]
    whole = last["seconds"] + (RECIPE - last["epoch"]) * statistics.median(each or [last["seconds"]])
    words = f"not in {last['epoch']} epochs ({last['seconds']:.0f} s)"
    return whole, f"{words}; its {RECIPE} take {whole:,.0f} s (extrapolated)"
