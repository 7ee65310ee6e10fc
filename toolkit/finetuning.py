"""Fine-tuning: a trained model learns how one person draws, and loses nothing that it could.

data = finetuning.load(job, old)
new = ...                                    # trained on data.train, from the weights of old
finetuning.replace(job, data, old, new)      # or a refusal
finetuning.undo(job.output)

It trains on variants of the person's drawings among a sample of what the model was trained on. The new model
replaces the old one only if it reads the validation images as well. The old one is kept beside it.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from classifier import Classifier, InputError
from toolkit import datasets, drawings, handwriting
from toolkit.commandline import shown
from toolkit.datasets import ImageSet
from toolkit.drawings import Drawings
from toolkit.files import read_arrays, versions, write_safely
from toolkit.training import Data, Job, framed_set

import numpy as np

SAMPLE = 3_000  # images of the training split that are trained on again
DRAWN_SAMPLE = 1_000  # variants of each set of drawings that the model was trained on
VARIANTS = 1_000  # of all corrections together; each has at least one
WATCHED = 2_000  # images of the validation split that must be read as well as before
NOTHING = ImageSet(np.zeros((0, 28, 28), np.uint8), np.zeros(0, int), "")  # a sample without images
TOLERATED = 0.001  # the share of them that may be lost


def load(job: Job[Any], old: Classifier, *, with_sample: bool = True) -> Data:
    """Load what a fine-tuning needs: `drawn` is the corrections, `train` their variants among a sample.

    Raises InputError when something is missing or damaged, or when flags ask for another model.
    """
    if job.config.part(type(old.config)) != old.config:
        raise InputError(f"fine-tuning keeps what {job.base} looks like: leave out the flags that change it.")
    known = sample(job, old) if with_sample else NOTHING
    sets = [drawings.load(name, "train") for name in job.drawings]
    where: dict[str, Any] = {"dataset": job.dataset, "data": job.data}
    watched = min(WATCHED, job.limit or WATCHED)
    return Data(
        train=mixed(sets, known, job.seed),
        validation=datasets.load("validation", **where, limit=watched),
        drawn=framed_set(sets, " + ".join(map(shown, job.drawings))),
    )


def mixed(sets: list[Drawings], known: ImageSet, seed: int) -> ImageSet:
    """Return known images, and variants of corrections: about `VARIANTS`, of each drawing as many."""
    images, labels = [known.images], [known.labels]
    copies = math.ceil(VARIANTS / sum(map(len, sets)))
    for number, own in enumerate(sets):
        images.append(drawings.framed(own))
        labels.append(own.labels)
        for copy in range(1, copies):
            images.append(handwriting.variants(own, np.random.default_rng([seed, number, copy])))
            labels.append(own.labels)
    return ImageSet(np.concatenate(images), np.concatenate(labels), known.name)


def sample(job: Job[Any], old: Classifier) -> ImageSet:
    """Return a random sample of the training split, and variants of drawings that the model learned from."""
    rng = np.random.default_rng([job.seed, SAMPLE])
    known = datasets.load("train", dataset=job.dataset, data=job.data, limit=job.limit)
    chosen = datasets.stratified(known.labels, min(SAMPLE, len(known)), rng)
    images, labels = [known.images[chosen]], [known.labels[chosen]]
    for name in _drawings_of(old):
        if name in job.drawings:
            continue
        try:
            own = drawings.load(name, "train")
        except InputError as error:
            print(f"Left out: {error}", file=sys.stderr)
            continue
        count = min(DRAWN_SAMPLE, job.limit or DRAWN_SAMPLE, len(own))
        own = drawings.select(own, datasets.stratified(own.labels, count, rng))
        images.append(handwriting.variants(own, rng))
        labels.append(own.labels)
    return ImageSet(np.concatenate(images), np.concatenate(labels), known.name)


def _drawings_of(old: Classifier) -> list[str]:
    """Return the names of the drawings that a model was trained on, as its file says."""
    names = old.trained_on.get("drawings", [])
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def temperature(old: Classifier) -> float:
    """Return the temperature that a model's scores were divided by; 1 if its file does not say."""
    value = old.metrics.get("temperature")
    return float(value) if isinstance(value, (int, float)) and 0 < value < math.inf else 1.0


def replace(job: Job[Any], data: Data, old: Classifier, new: Classifier) -> None:
    """Say what both models read, and save the new one, with the old one beside it.

    Raises InputError, and saves nothing, if the new one reads the validation images worse by more than
    `TOLERATED`.
    """
    assert data.validation is not None
    assert data.drawn is not None
    counts: dict[str, Any] = {}
    for name, images in (("corrections", data.drawn), ("validation", data.validation)):
        before, after = (int((model.predict(images.images) == images.labels).sum()) for model in (old, new))
        counts[name] = {"count": len(images), "before": before, "after": after}
        if not job.quiet:
            line = f"Right on the {len(images):,} of {images.name}: {before:,} before, {after:,} after"
            print(line, flush=True)
    validation = counts["validation"]
    if validation["before"] - validation["after"] > TOLERATED * validation["count"]:
        raise InputError(
            f"the new model is refused: it reads {validation['after']:,} of {validation['count']:,} images "
            f"of {data.validation.name}, and the old one {validation['before']:,}."
        )
    kept = {name: value for name, value in old.metrics.items() if name in ("temperature", "unsure_below")}
    if not old.trained_on.get("final"):  # else it was trained on these images
        kept["accuracy"] = validation["after"] / validation["count"]
    new.metrics = kept
    replaced = job.output.is_file()
    new.trained_on = {
        **old.trained_on,
        "images": f"{old.trained_on.get('images', '?')} + {data.drawn.name}",
        "count": old.trained_on.get("count", 0) + len(data.drawn),
        "drawings": list(dict.fromkeys([*_drawings_of(old), *job.drawings])),
        "fine_tuned": {"from": str(job.base), "replaced": replaced, **counts},
        "versions": versions("numpy", "torch", "scikit-learn"),
    }
    if replaced:
        write_safely(before_of(job.output), job.output.read_bytes())
    new.save(job.output)
    if not job.quiet:
        print(f"Model: {shown(job.output)}; --undo takes back the one before it")


def before_of(output: Path) -> Path:
    """Return where the model is kept that a fine-tuned one replaced."""
    return output.with_name(f"{output.stem}-before{output.suffix}")


def undo(output: Path) -> str:
    """Put back the model that a fine-tuned one replaced, and say so; remove it if it replaced none.

    Raises InputError when the model was not fine-tuned, or when the one before it is gone.
    """
    trained_on = read_arrays(output)[1].get("trained_on")
    fine_tuned = trained_on.get("fine_tuned") if isinstance(trained_on, dict) else None
    if not isinstance(fine_tuned, dict):
        raise InputError(f"{shown(output)} was not fine-tuned: there is nothing to undo.")
    before = before_of(output)
    if not fine_tuned.get("replaced"):
        output.unlink()
        return f"{shown(output)} is removed; before the fine-tuning there was none."
    if not before.is_file():
        raise InputError(f"{shown(before)}, the model before the fine-tuning, is gone: nothing was undone.")
    os.replace(before, output)
    return f"{shown(output)} is again the model before the fine-tuning."
