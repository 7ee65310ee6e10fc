"""Measure what corrections are worth: are a person's drawings read better after 30 of them were labelled?

    python bench/corrections.py                       # the shipped ANN and SVM, 14 writers: 2 minutes
    python bench/corrections.py --kind svm --part validation

Each writer of a part of `pendigits` in turn labels the first drawings, in the order in which they were
recorded, read rightly or not. The model learns from them as `train_ann.py --from` does, and reads the
writer's other drawings and MNIST's test split, before and after. A model that would be refused counts as
unchanged.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import predict
from classifier import Classifier
from toolkit import commandline, datasets, drawings, files, finetuning
from toolkit.training import Job

import numpy as np

COUNT = 30


def measure(
    kind: str, model: Path, part: str, count: int, writers: int | None = None, *, split: str, **where: Any
) -> list[dict[str, Any]]:
    """Return, for each writer, how many drawings and images of MNIST are read wrong before and after.

    `where` is the dataset, data and limit of MNIST, and the seed.
    """
    script = importlib.import_module(f"train_{kind}")
    old: Classifier = predict.load(kind, model)
    job = Job(kind, script.Config.read(script.fine_config(model)), base=model, **where)
    known, options = finetuning.NOTHING, {}
    if kind == "ann":
        known, options = finetuning.sample(job, old), {"seed": job.seed}
    mnist: dict[str, Any] = {"dataset": job.dataset, "data": job.data}
    watched = datasets.load("validation", **mnist, limit=finetuning.WATCHED)
    tested = datasets.load(split, **mnist, limit=job.limit)
    everyone = drawings.load("pendigits", part)
    others = {"validation": watched, split: tested}

    def wrong(model: Classifier) -> dict[str, int]:
        return {name: int((model.predict(own.images) != own.labels).sum()) for name, own in others.items()}

    before, measured = wrong(old), []
    for writer in np.unique(everyone.writers)[:writers]:
        own = drawings.select(everyone, everyone.writers == writer)
        first = np.arange(len(own)) < count
        started = time.perf_counter()
        train_set = finetuning.mixed([drawings.select(own, first)], known, job.seed)
        new = script.refined(old, train_set, job.config, **options)
        seconds = time.perf_counter() - started
        images = drawings.framed(own)
        row: dict[str, Any] = {"kind": kind, "writer": int(writer), "seconds": round(seconds, 1)}
        row |= {"count": int((~first).sum()), "before": {**before}, "after": wrong(new)}
        for name, model_of in (("before", old), ("after", new)):
            misread = model_of.predict(images) != own.labels
            row[name] |= {"corrections": int(misread[first].sum()), "rest": int(misread[~first].sum())}
        lost = row["after"]["validation"] - row["before"]["validation"]
        row["refused"] = lost > finetuning.TOLERATED * len(watched)
        print(row, flush=True)
        measured.append(row)
    return measured


def summary(rows: Sequence[dict[str, Any]], split: str = "test") -> str:
    """Say in a few lines what was measured."""

    def wrong(name: str, when: str) -> np.ndarray:
        return np.array([row["before" if row["refused"] else when][name] for row in rows])

    count = np.array([row["count"] for row in rows])
    before, after = wrong("rest", "before"), wrong("rest", "after")
    shares = 100 * before / count, 100 * after / count
    return (
        f"{len(rows)} writers, {sum(row['refused'] for row in rows)} refused\n"
        f"wrong on the corrections: {wrong('corrections', 'before').sum()} before, "
        f"{wrong('corrections', 'after').sum()} after\n"
        f"wrong on the rest, {count.sum():,} drawings: {before.sum()} before, {after.sum()} after\n"
        f"error on the rest, mean over writers: {shares[0].mean():.2f} % before, "
        f"{shares[1].mean():.2f} % after\n"
        f"writers with fewer errors {(after < before).sum()}, as many {(after == before).sum()}, "
        f"more {(after > before).sum()}\n"
        f"wrong on MNIST's {split} split: {wrong(split, 'before')[0]} before, "
        f"{wrong(split, 'after').mean():.1f} after (worst {wrong(split, 'after').max()})\n"
        f"seconds: {np.median([row['seconds'] for row in rows]):.0f} (median)"
    )


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    datasets.add_flags(parser)
    parser.add_argument("--kind", choices=predict.LEARNERS, help="of classifier (default: all that learn)")
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="needs --kind (default: the shipped model)"
    )
    parser.add_argument("--part", choices=("validation", "test"), default="test", help="of pendigits")
    parser.add_argument(
        "--count",
        type=commandline.positive_int,
        default=COUNT,
        metavar="N",
        help="corrections of each writer",
    )
    parser.add_argument("--writers", type=int, metavar="N", help="only the first N writers")
    parser.add_argument("--seed", type=commandline.seed, default=0, help="of everything random")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there")
    arguments = parser.parse_args(argv)
    if arguments.model and not arguments.kind:
        parser.error("--model needs --kind")
    split = "test" if arguments.part == "test" else "validation"
    where = {name: getattr(arguments, name) for name in ("dataset", "data", "limit", "seed")}
    everything = []
    for kind in [arguments.kind] if arguments.kind else predict.LEARNERS:
        model = arguments.model or predict.ROOT / "models" / f"{kind}.safetensors"
        rows = measure(kind, model, arguments.part, arguments.count, arguments.writers, split=split, **where)
        print(f"{predict.CLASSIFIERS[kind]}: {summary(rows, split)}")
        everything += rows
    if arguments.json:
        files.write_json(arguments.json, {"writers": everything})


if __name__ == "__main__":
    commandline.run(main)
