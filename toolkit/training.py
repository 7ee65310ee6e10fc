"""What the three `train_*.py` share: their command line, their data, checkpoints, and the saved model.

job = training.parse("ann", __doc__, Config, argv)
data = training.load(job)
with training.start(job) as run:
    classifier, metrics = train(data.train, data.validation, job.config, seed=job.seed, run=run)
    training.save(job, data, run, classifier, metrics)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from classifier import Classifier, expect_arrays
from toolkit import commandline, datasets, drawings, tracking
from toolkit.augment import augment, parts_of
from toolkit.config import Config, option
from toolkit.datasets import ImageSet
from toolkit.files import (
    ROOT,
    InputError,
    ModelFileError,
    check_writable,
    read_arrays,
    versions,
    write_arrays,
)

import numpy as np

C = TypeVar("C", bound=Config)
WATCHED = 6_000  # images of the training split whose loss is measured each epoch: as many as in validation
TRUSTED = 0.99  # share of the answers without a "?" that must be right


# The flags that a run's record keeps beside its configuration.
ASKED = ("seed", "dataset", "data", "limit", "final", "drawn", "from_trial", "wandb")


class Diverged(InputError):
    """The loss became infinite or NaN."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss is not finite at epoch {epoch}; try a smaller --learning-rate.")


@dataclass(frozen=True)
class Augmented(Config):
    """The augmentation of the training images, for the configurations of trainings."""

    augment: float = option(
        0.0, "strength of the augmentation, 0 for none; alone it means 1", low=0, high=10, alone=1.0
    )
    augment_parts: str = option("all", "its parts, with commas: translation,scale,... (toolkit/augment.py)")

    def __post_init__(self) -> None:
        super().__post_init__()
        parts_of(self.augment_parts)


@dataclass(frozen=True)
class Job(Generic[C]):
    """What one training was asked for: the flags of its command line."""

    kind: str
    config: C
    seed: int = 0
    dataset: str = datasets.DEFAULT
    data: str | None = None
    limit: int | None = None
    final: bool = False
    drawn: str | None = None
    from_trial: int | None = None
    wandb: str = "disabled"
    output: Path = field(default_factory=Path)
    resume: Path | None = None
    quiet: bool = False

    def record(self) -> dict[str, Any]:
        """Return what a run's `config.json` keeps of it, enough to resume."""
        return {**{name: getattr(self, name) for name in ASKED}, "config": self.config.values()}


@dataclass(frozen=True)
class Data:
    """The images of a training: train, validation (None with --final), and drawings to fit the "?" on."""

    train: ImageSet
    validation: ImageSet | None
    drawn: ImageSet | None


def parse(
    kind: str,
    description: str | None,
    config: type[C],
    argv: Sequence[str] | None,
    *,
    fast: Mapping[str, Any] | None = None,
    check: Callable[[Any], object] = lambda config: None,
) -> Job[C]:
    """Read the command line of a training, and check all of it.

    What comes later wins: the defaults, the preset `fast`, the trial's configuration, the flags. With
    `--resume` the run's own record says everything but where the model goes.

    Parameters
    ----------
    fast : the configuration that --fast stands for; None leaves that flag out.
    check : called with the configuration, for what only this machine can say; raises InputError.
    """
    arguments = _parser(kind, description, config, fast).parse_args(argv)
    if arguments.resume:
        asked = _read_record(Path(arguments.resume), kind)
        values = asked.pop("config")
    else:
        asked = {name: getattr(arguments, name) for name in ASKED}
        values = dict(fast or {}) if fast and arguments.fast else {}
        if arguments.from_trial is not None:
            from toolkit import trials

            values |= trials.trial_config(arguments.db, arguments.study, arguments.from_trial)
        values |= commandline.given(arguments, config)
    checked = config.read(values)
    check(checked)
    name = datasets.model_name(kind, asked["dataset"])
    output = Path(arguments.output or ROOT / "trained" / f"{name}.safetensors")
    check_writable(output)
    resume = Path(arguments.resume) if arguments.resume else None
    return Job(kind, checked, **asked, output=output, resume=resume, quiet=arguments.quiet)


def _parser(
    kind: str, description: str | None, config: type[Config], fast: Mapping[str, Any] | None
) -> commandline.Parser:
    parser = commandline.Parser(description)
    datasets.add_flags(parser)
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--seed", type=commandline.seed, default=0, help="of everything random")
    add("--final", action="store_true", help="train on all 60,000 images; none are left for validation")
    if fast:
        add("--fast", action="store_true", help="a preset for a first look")
    add("--from-trial", type=int, metavar="N", help="take the configuration of a sweep's trial")
    add("--study", default=kind, help="the sweep that the trial belongs to")
    add("--db", metavar="URL", help="the sweeps' database (default: as in the sweeps)")
    add("--resume", metavar="RUN", help="go on with an interrupted run, with its configuration")
    add("--output", metavar="FILE", help=f"the model file (default: trained/{kind}.safetensors)")
    add(
        "--wandb",
        choices=tracking.WANDB_MODES,
        default="auto",
        help="log to Weights & Biases; auto: online when a key is set",
    )
    add(
        "--drawn",
        metavar="PATH",
        help='drawings to fit the "?" on; a test part of the set is left out (default: varied images of the '
        "validation split; with --final none are left, so better give some)",
    )
    add("--quiet", action="store_true", help="print errors only")
    commandline.add_config_flags(parser, config)
    return parser


def _read_record(directory: Path, kind: str) -> dict[str, Any]:
    """Return what the run in a folder was asked for."""
    record = tracking.read_config(directory)
    if record["stage"] != f"train-{kind}":
        raise InputError(f"{directory} is a run of {record['stage']}, not of train-{kind}.")
    known = Job(kind, Config()).record()
    asked = {**known, **{name: value for name, value in record["config"].items() if name in known}}
    kinds: dict[str, tuple[type, ...]] = {
        "seed": (int,),
        "final": (bool,),
        "dataset": (str,),
        "wandb": (str,),
        "config": (dict,),
    }
    kinds |= dict.fromkeys(("limit", "from_trial"), (int, type(None)))
    kinds |= dict.fromkeys(("data", "drawn"), (str, type(None)))
    fits = all(type(asked[name]) in allowed for name, allowed in kinds.items())
    if not fits or not 0 <= asked["seed"] < 2**32 or (asked["limit"] is not None and asked["limit"] < 1):
        raise InputError(f"{directory / 'config.json'} is damaged.")
    return asked


def load(job: Job[Any]) -> Data:
    """Load the images of a training. Raises InputError when they are missing or damaged."""
    where: dict[str, Any] = {"dataset": job.dataset, "data": job.data, "limit": job.limit}
    return Data(
        train=datasets.load("all" if job.final else "train", **where),
        validation=None if job.final else datasets.load("validation", **where),
        drawn=drawings.load_drawn(job.drawn, part="validation") if job.drawn else None,
    )


def start(job: Job[Any]) -> tracking.Run:
    """Begin the record of a training, or go on with the one that it resumes."""
    stage = f"train-{job.kind}"
    hint = f"python train_{job.kind}.py --resume"
    common: dict[str, Any] = {"wandb": job.wandb, "quiet": job.quiet, "resume_command": hint}
    return tracking.Run(stage, job.record(), directory=job.resume, resume=bool(job.resume), **common)


def save(
    job: Job[Any], data: Data, run: tracking.Run, classifier: Classifier, metrics: dict[str, Any]
) -> None:
    """Fit the "?" threshold, write the model and the record's plots, and say what was reached."""
    from toolkit.evaluation import fit_threshold

    watched = data.drawn or data.validation or data.train
    images, labels = watched.images, watched.labels
    if data.drawn is None:
        # Images as varied as drawings are: clean ones would make the classifier look too sure.
        images, labels = images[:WATCHED], labels[:WATCHED]
        images = variants(images, labels, [job.seed, 0], 1.0)
    metrics = {
        **metrics,
        "unsure_below": fit_threshold(classifier.probabilities(images), labels, precision=TRUSTED),
    }
    classifier.metrics = metrics
    classifier.trained_on = {
        "images": data.train.name,
        "count": len(data.train),
        "seed": job.seed,
        "config": job.config.values(),
        "from_trial": job.from_trial,
        "unsure_by": watched.name,
        "versions": versions("numpy", "torch", "scikit-learn"),
    }
    run.finish(metrics, pictures=_plot(run, classifier.name, metrics))
    classifier.save(job.output)
    if job.quiet:
        return
    if data.validation is not None:
        from toolkit.metrics import METRICS

        names = ("accuracy", "macro_precision", "macro_recall", "log_loss")
        reached = ", ".join(f"{METRICS[name].label} {METRICS[name].text(metrics[name])}" for name in names)
        print(f"On the {len(data.validation):,} images of {data.validation.name}: {reached}")
    print(f"Trained on {len(data.train):,} images of {data.train.name} in {metrics['train_seconds']:.1f} s")
    print(f"Model:  {commandline.shown(job.output)}\nRecord: {commandline.shown(run.directory or '-')}")


def _plot(run: tracking.Run, name: str, metrics: Mapping[str, Any]) -> dict[str, Path]:
    """Write the run's pictures: a learning curve if there are epochs, a confusion matrix if measured."""
    from toolkit import figures

    pictures = {}
    if run.directory and run.epochs:
        pictures["learning_curve"] = run.directory / "learning_curve.png"
        figures.save(figures.learning_curve(run.epochs, f"Training of {name}"), pictures["learning_curve"])
    if run.directory and "confusion" in metrics:
        pictures["confusion_matrix"] = run.directory / "confusion.png"
        figures.save(figures.confusion(metrics, f"{name}, validation split"), pictures["confusion_matrix"])
    return pictures


def validate(validation_set: ImageSet | None, classifier: Classifier) -> dict[str, Any]:
    """Measure a trained classifier on the validation split; {} without one."""
    from toolkit.metrics import evaluate

    if validation_set is None:
        return {}
    metrics = evaluate(validation_set.labels, classifier.probabilities(validation_set.images))
    return {**metrics, "loss": metrics["log_loss"]}


class Checkpoint:
    """The state of a training after each epoch, in its run's folder; kept nowhere when the run has none.

    It holds arrays and text only, like a model file, and is written as safely.
    """

    def __init__(self, run: tracking.Run, config: Config, seed: int) -> None:
        self.path = run.directory / "checkpoint.safetensors" if run.directory else None
        self.header = {"config": config.values(), "seed": seed}

    def restore(self, like: Mapping[str, np.ndarray]) -> tuple[int, float, dict[str, np.ndarray]]:
        """Return the next epoch, from 1, the seconds spent so far, and the arrays that were kept.

        Raises ModelFileError when their names, shapes or dtypes are not those of `like`.
        """
        if self.path is None or not self.path.is_file():
            return 1, 0.0, {}
        arrays, header = read_arrays(self.path)
        if {name: header.get(name) for name in self.header} != json.loads(json.dumps(self.header)):
            raise ModelFileError(f"{self.path} belongs to a training with another configuration.")
        try:
            expect_arrays(arrays, {name: (array.shape, array.dtype) for name, array in like.items()})
        except ValueError as error:
            raise ModelFileError(f"{self.path} is damaged: {error}") from error
        epoch, seconds = header.get("epoch"), header.get("seconds")
        if type(epoch) is not int or epoch < 1 or not isinstance(seconds, float) or not 0 <= seconds < 1e9:
            raise ModelFileError(f"{self.path} is damaged: its header names no epoch or no seconds.")
        return epoch + 1, seconds, arrays

    def write(self, arrays: Mapping[str, np.ndarray], epoch: int, seconds: float) -> None:
        """Keep the state after an epoch, and the seconds spent so far."""
        if self.path is not None:
            write_arrays(self.path, arrays, {**self.header, "epoch": epoch, "seconds": seconds})


def variants(
    images: np.ndarray, labels: np.ndarray, seed: list[int], strength: float, parts: str = "all"
) -> np.ndarray:
    """Return one random variant of each image, uint8 (n, 28, 28), for models that are not PyTorch's.

    Parameters
    ----------
    images, labels : uint8 (n, 28, 28), 0 paper, 255 ink; int (n,).
    seed : numbers that together seed the variants.
    strength, parts : as in `augment`.
    """
    import torch

    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    named = parts_of(parts)
    changed = []
    for first in range(0, len(images), 1000):
        part = slice(first, first + 1000)
        batch, truth = torch.tensor(images[part]).unsqueeze(1) / 255, torch.from_numpy(labels[part])
        changed.append(augment(batch, generator, labels=truth, strength=strength, parts=named))
    return torch.cat(changed).squeeze(1).mul(255).round().byte().numpy()
