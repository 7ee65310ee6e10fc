"""What the three `train_*.py` share: the command line, checkpoints, and checks of a configuration.

A training is a run in `runs/`; its record says all that is needed to go on after a kill.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier import ROOT, Classifier, InputError, ModelFileError, read_arrays, versions, write_arrays
from toolkit import commandline

if TYPE_CHECKING:
    from toolkit.tracking import Run


TRUSTED = 0.99  # part of the answers without a "?" that is to be right


class Diverged(InputError):
    """The loss became infinite or NaN."""


def complete(defaults: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` over its defaults; raises InputError for an entry that has none."""
    unknown = sorted(set(config) - set(defaults))
    if unknown:
        raise InputError(f"unknown configuration {', '.join(unknown)}; known are {', '.join(defaults)}.")
    return {**defaults, **config}


def in_range(config: Mapping[str, Any], name: str, low: float, high: float) -> None:
    """Raises InputError where an entry of the configuration is not from `low` to `high`."""
    if not low <= config[name] <= high:
        raise InputError(f"wanted {name} from {low} to {high}; got {config[name]}.")


class Checkpoint:
    """The state of a training after each epoch, in its run's folder (kept nowhere where it has none).

    Arrays and text only, as a model file, and written as safely.
    """

    def __init__(self, run: Run, config: Mapping[str, Any], seed: int) -> None:
        self.path = run.directory / "checkpoint.safetensors" if run.directory else None
        self.header = {"config": dict(config), "seed": seed}

    def restore(self) -> tuple[int, float, dict[str, np.ndarray]]:
        """The next epoch, from 1, the seconds spent so far, and the arrays that were kept."""
        if self.path is None or not self.path.is_file():
            return 1, 0.0, {}
        arrays, header = read_arrays(self.path)
        if {name: header.get(name) for name in self.header} != json.loads(json.dumps(self.header)):
            raise ModelFileError(f"{self.path} belongs to a training with another configuration.")
        return header["epoch"] + 1, header["seconds"], arrays

    def write(self, arrays: Mapping[str, np.ndarray], epoch: int, seconds: float) -> None:
        """Keep the state after `epoch`, when so many seconds were spent."""
        if self.path is not None:
            write_arrays(self.path, arrays, {**self.header, "epoch": epoch, "seconds": seconds})


def variants(
    images: np.ndarray, labels: np.ndarray, seed: list[int], strength: float, parts: str = "all"
) -> np.ndarray:
    """One random variant of each image, uint8 (n, 28, 28), for the models that are not PyTorch's."""
    import torch

    from ann import to_tensor
    from toolkit.augment import augment, parts_of

    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    named = parts_of(parts)
    changed = []
    for first in range(0, len(images), 1000):
        part = slice(first, first + 1000)
        batch, truth = to_tensor(images[part]), torch.from_numpy(labels[part])
        changed.append(augment(batch, generator, labels=truth, strength=strength, parts=named))
    return torch.cat(changed).squeeze(1).mul(255).round().byte().numpy()


def command(
    kind: str,
    description: str | None,
    options: Mapping[str, tuple[Any, str]],
    train: Callable[..., tuple[Classifier, dict[str, Any]]],
    argv: Sequence[str] | None,
    *,
    fast: Mapping[str, Any] | None = None,
) -> None:
    """The one command line behind `train_*.py`.

    `options` maps each entry of the configuration to its default and help; `fast` is the preset of
    `--fast`, where the model has one. Later wins: defaults, preset, the trial's configuration, flags.
    """
    parser = commandline.Parser(description)
    commandline.add_data_flags(parser)
    group = parser.add_argument_group("training")
    group.add_argument("--seed", type=commandline.seed, default=0, help="of everything random")
    group.add_argument("--final", action="store_true", help="fit on all 60,000 images; nothing is chosen on")
    if fast:
        group.add_argument("--fast", action="store_true", help="a preset for a first look")
    group.add_argument(
        "--from-trial", type=int, metavar="N", help="take the configuration of a sweep's trial"
    )
    group.add_argument("--study", default=kind, help="the sweep that the trial belongs to")
    group.add_argument("--db", metavar="URL", help="the sweeps' database (default: as in the sweeps)")
    group.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run; takes its configuration"
    )
    group.add_argument(
        "--output",
        metavar="FILE",
        help=f"the model file (default: trained/{kind}.safetensors in this toolkit)",
    )
    group.add_argument(
        "--wandb",
        choices=("auto", "online", "offline", "disabled"),
        default="auto",
        help="log to Weights & Biases; auto: online where a key is set",
    )
    group.add_argument(
        "--drawn",
        metavar="PATH",
        help='drawings to fit on when a "?" is shown; of a set with a test part, the others (default: images '
        "of the choosing split, varied at random); with --final no image is left for that: better give some",
    )
    group.add_argument("--quiet", action="store_true", help="print errors alone")
    commandline.add_config_flags(parser, options)
    arguments = parser.parse_args(argv)

    from toolkit import datasets
    from toolkit.evaluation import fit_threshold
    from toolkit.tracking import Run

    if arguments.resume:
        record = _read_record(Path(arguments.resume), kind)
    else:
        config = {name: default for name, (default, _) in options.items()}
        if fast and arguments.fast:
            config.update(fast)
        if arguments.from_trial is not None:
            from toolkit import sweep

            config.update(sweep.trial_config(arguments.db, arguments.study, arguments.from_trial))
        config.update(commandline.given(arguments, options))
        record = {
            name: getattr(arguments, name)
            for name in ("dataset", "limit", "seed", "final", "data", "output", "drawn")
        }
        record.update(config=config, wandb=arguments.wandb, from_trial=arguments.from_trial)
    suffix = "" if record["dataset"] == "mnist" else f"-{record['dataset']}"
    output = Path(record["output"] or ROOT / "trained" / f"{kind}{suffix}.safetensors")
    where = {"dataset": record["dataset"], "data": record["data"], "limit": record["limit"]}
    train_set = datasets.load("all" if record["final"] else "train", **where)
    validation_set = None if record["final"] else datasets.load("validation", **where)
    drawn = record.get("drawn")
    drawn_set = datasets.load_drawn(drawn, part="validation") if drawn else None

    run = Run(
        f"train-{kind}",
        record,
        wandb=record["wandb"],
        quiet=arguments.quiet,
        directory=Path(arguments.resume) if arguments.resume else None,
        resume=bool(arguments.resume),
    )
    try:
        classifier, metrics = train(
            train_set, validation_set, seed=record["seed"], run=run, **record["config"]
        )
    except KeyboardInterrupt:
        run.finish({}, status="interrupted")
        if not arguments.quiet:
            print(f"\nStopped; to go on: python train_{kind}.py --resume {run.directory}", flush=True)
        raise
    except BaseException:
        run.finish({}, status="failed")
        raise
    # Above which probability an answer is to be trusted: on drawings, or on images as varied as these.
    watched = drawn_set or validation_set or train_set
    images, labels = watched.images, watched.labels
    if drawn_set is None:
        images, labels = images[:6_000], labels[:6_000]
        images = variants(images, labels, [record["seed"], 0], 1.0)
    probabilities = classifier.probabilities(images)
    assert probabilities is not None  # who can be trained answers
    metrics["unsure_below"] = fit_threshold(probabilities, labels, precision=TRUSTED)
    classifier.trained_on = {
        "images": train_set.name,
        "count": len(train_set),
        "seed": record["seed"],
        "config": record["config"],
        "from_trial": record["from_trial"],
        "unsure_by": watched.name,
        "versions": versions("numpy", "torch", "scikit-learn"),
    }
    classifier.metrics = metrics
    classifier.save(output)
    pictures = _plot(run, kind, metrics)
    run.finish(metrics, pictures=pictures)
    if not arguments.quiet:
        if validation_set is not None:
            figures = ("accuracy", "macro_precision", "macro_recall")
            said = ", ".join(f"{name.replace('_', ' ')} {metrics[name]:.2%}" for name in figures)
            print(
                f"On the {len(validation_set):,} images of {validation_set.name}: {said}, "
                f"log loss {metrics['log_loss']:.4f}"
            )
        print(f"Trained on {len(train_set):,} images of {train_set.name} in {metrics['train_seconds']:.1f} s")
        print(f"Model:  {commandline.shown(output)}\nRecord: {commandline.shown(run.directory or '-')}")


def _plot(run: Run, kind: str, metrics: Mapping[str, Any]) -> dict[str, Path]:
    """The run's pictures: learning curve where there are epochs, confusion matrix where it was measured."""
    from toolkit.evaluation import plot_confusion, plot_learning_curve

    pictures = {}
    if run.directory and run.epochs:
        pictures["learning_curve"] = run.directory / "learning_curve.png"
        plot_learning_curve(run.epochs, pictures["learning_curve"], f"Training of {kind}")
    if run.directory and "confusion" in metrics:
        pictures["confusion_matrix"] = run.directory / "confusion.png"
        plot_confusion(metrics, pictures["confusion_matrix"], f"{kind}, choosing split")
    return pictures


def _read_record(directory: Path, kind: str) -> dict[str, Any]:
    """What a run was asked to train."""
    from toolkit.tracking import read_config

    record = read_config(directory)
    if record["stage"] != f"train-{kind}":
        raise InputError(f"{directory} is a run of {record['stage']}, not of train-{kind}.")
    return record["config"]
