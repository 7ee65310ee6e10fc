"""What the three `train_*.py` share: their command line, their data, checkpoints, and the saved model.

job = training.parse("ann", __doc__, Config, argv)
data = training.load(job)
with training.start(job) as run:
    classifier, metrics = train(data.train, data.validation, job.config, seed=job.seed, run=run)
    training.save(job, data, run, classifier, metrics)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from classifier import Classifier, expect_arrays
from toolkit import commandline, datasets, drawings, handwriting, tracking
from toolkit.augment import parts_of, variants
from toolkit.certainty import calibrate, fit_threshold
from toolkit.config import Config, option
from toolkit.datasets import ImageSet
from toolkit.drawings import Drawings
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
DOUBTED = 0.25  # share of the answers that get a "?" at most

# The flags that a run's record keeps beside its configuration.
DATA = ("dataset", "data", "limit", "drawings", "drawing_copies", "drawn")
ASKED = ("seed", *DATA, "final", "from_trial", "wandb")
# What a model file keeps of them.
RECIPE = ("config", "seed", "drawings", "drawing_copies", "final", "from_trial")
# The flags that say nothing to a fine-tuning.
NOT_FINE = ("resume", "from_trial", "fast", "final", "drawn")


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
    drawings: tuple[str, ...] = ()
    drawing_copies: int = 2
    final: bool = False
    drawn: str | None = None
    from_trial: int | None = None
    wandb: str = "disabled"
    output: Path = field(default_factory=Path)
    resume: Path | None = None
    quiet: bool = False
    base: Path | None = None
    undo: bool = False

    def record(self) -> dict[str, Any]:
        """Return what a run's `config.json` keeps of it, enough to resume."""
        asked = {name: getattr(self, name) for name in ASKED}
        return {**asked, "drawings": list(self.drawings), "config": self.config.values()}


@dataclass(frozen=True)
class Data:
    """The images of a training.

    Attributes
    ----------
    train : with variants of the drawings behind the images of the data set.
    validation : of the data set; None with --final.
    drawn : drawings that are not trained on, or None.
    """

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
    fine: Callable[[Path], Mapping[str, Any]] | None = None,
    check: Callable[[Any], object] = lambda config: None,
) -> Job[C]:
    """Read the command line of a training, and check all of it.

    What comes later wins: the defaults, the preset `fast`, the trial's configuration, the flags. With
    `--resume` the run's own record says everything but where the model goes.

    Parameters
    ----------
    fast : the configuration that --fast stands for; None leaves that flag out.
    fine : the configuration that --from a model file stands for; None leaves that flag out.
    check : called with the configuration, for what only this machine can say; raises InputError.
    """
    parser = _parser(kind, description, config, fast)
    if fine:
        _add_fine_flags(parser)
    arguments = parser.parse_args(argv)
    base = Path(arguments.base) if fine and arguments.base else None
    if base:
        _check_fine(parser, arguments)
    if arguments.resume:
        asked = _read_record(Path(arguments.resume), kind)
        values = asked.pop("config")
    else:
        asked = {name: getattr(arguments, name) for name in ASKED}
        asked["drawings"] = tuple(asked["drawings"])
        values = dict(fast or {}) if fast and arguments.fast else {}
        values |= fine(base) if fine and base else {}
        if arguments.from_trial is not None:
            from toolkit import trials

            values |= trials.trial_config(arguments.db, arguments.study, arguments.from_trial)
            if (path := trials.shipped(arguments.db, arguments.study)) and not arguments.quiet:
                whose = f"{commandline.shown(path)}, which comes with the toolkit"
                print(f"Trial {arguments.from_trial} of {whose}")
        values |= commandline.given(arguments, config)
    checked = config.read(values)
    check(checked)
    name = datasets.model_name(kind, asked["dataset"])
    output = Path(arguments.output or ROOT / "trained" / f"{name}.safetensors")
    check_writable(output)
    resume = Path(arguments.resume) if arguments.resume else None
    undo = bool(fine) and arguments.undo
    common: dict[str, Any] = {"output": output, "resume": resume, "quiet": arguments.quiet}
    return Job(kind, checked, **asked, **common, base=base, undo=undo)


def _add_fine_flags(parser: commandline.Parser) -> None:
    group = parser.add_argument_group("fine-tuning")
    text = "fine-tune this model on --drawings, and keep the result only if MNIST is read as well as before"
    group.add_argument("--from", dest="base", metavar="MODEL", help=text)
    group.add_argument("--undo", action="store_true", help="take back the last fine-tuning of --output")


def _check_fine(parser: commandline.Parser, arguments: argparse.Namespace) -> None:
    """End the program unless the flags beside --from go with it."""
    if not arguments.drawings:
        parser.error("say with --drawings SET what --from MODEL is to learn")
    others = [name for name in NOT_FINE if getattr(arguments, name, None)]
    others += ["drawing_copies"] if arguments.drawing_copies != Job.drawing_copies else []
    if others:
        parser.error(f"--from does not go with --{others[0].replace('_', '-')}")


def _parser(
    kind: str, description: str | None, config: type[Config], fast: Mapping[str, Any] | None
) -> commandline.Parser:
    parser = commandline.Parser(description)
    datasets.add_flags(parser)
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--seed", type=commandline.seed, default=0, help="of everything random")
    add("--final", action="store_true", help="train on the validation split, too; none is left")
    add(
        "--drawings",
        action="append",
        default=[],
        metavar="SET",
        help=f"train on drawings, too, each varied by other hands; may be repeated: {drawings.HELP}",
    )
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
        "--drawing-copies",
        type=commandline.positive_int,
        default=Job.drawing_copies,
        metavar="N",
        help="variants of each drawing",
    )
    add(
        "--drawn",
        metavar="SET",
        help='drawings whose validation part is measured, and fits the "?" (default: that of --drawings, '
        "else varied images of the validation split)",
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
    kinds |= {"drawings": (list, tuple), "drawing_copies": (int,)}
    fits = all(type(asked[name]) in allowed for name, allowed in kinds.items())
    fits = fits and all(isinstance(name, str) for name in asked["drawings"]) and asked["drawing_copies"] > 0
    if not fits or not 0 <= asked["seed"] < 2**32 or (asked["limit"] is not None and asked["limit"] < 1):
        raise InputError(f"{directory / 'config.json'} is damaged.")
    return asked


def load(job: Job[Any]) -> Data:
    """Load the images of a training. Raises InputError when they are missing or damaged."""
    where: dict[str, Any] = {"dataset": job.dataset, "data": job.data, "limit": job.limit}
    parts = ("train", "validation") if job.final else ("train",)
    train_set = datasets.load("all" if job.final else "train", **where)
    added = [drawings.load(name, *parts) for name in job.drawings]
    train_set = _with_variants(train_set, added, job)
    drawn = [job.drawn] if job.drawn else [name for name in job.drawings if not job.final]
    sets = [drawings.load(name) for name in drawn]
    # A set without parts was trained on as a whole.
    sets = [drawings.in_parts(own, "validation") for own in sets if job.drawn or own.is_test is not None]
    return Data(
        train=train_set,
        validation=None if job.final else datasets.load("validation", **where),
        drawn=framed_set(sets, " + ".join(drawn)),
    )


def framed_set(sets: Sequence[Drawings], name: str) -> ImageSet | None:
    """Return all drawings of some sets as framed images, or None if there are none."""
    if not any(map(len, sets)):
        return None
    images = np.concatenate([drawings.framed(own) for own in sets if len(own)])
    return ImageSet(images, np.concatenate([own.labels for own in sets]), name)


def _with_variants(train_set: ImageSet, sets: Sequence[Drawings], job: Job[Any]) -> ImageSet:
    """Add variants of drawings to the images that are trained on."""
    images, labels = [train_set.images], [train_set.labels]
    for number, own in enumerate(sets):
        if job.limit is not None:
            own = drawings.select(own, datasets.stratified(own.labels, min(job.limit, len(own)), None))
        for copy in range(job.drawing_copies):
            rng = np.random.default_rng([job.seed, number, copy])
            images.append(handwriting.variants(own, rng))
            labels.append(own.labels)
    name = " + ".join([train_set.name, *job.drawings])
    return ImageSet(np.concatenate(images), np.concatenate(labels), name)


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
    if data.drawn is not None:
        right = classifier.predict(data.drawn.images) == data.drawn.labels
        metrics = {**metrics, "drawn_accuracy": float(right.mean())}
    certainty, unsure_by = _certainty(job, data, classifier, metrics)
    classifier.metrics = {**metrics, **certainty}
    asked = {name: value for name, value in job.record().items() if name in RECIPE}
    classifier.trained_on = {
        "images": data.train.name,
        "count": len(data.train),
        **asked,
        "unsure_by": unsure_by,
        "versions": versions("numpy", "torch", "scikit-learn"),
    }
    classifier.save(job.output)  # before the plots, which take longer
    run.finish(classifier.metrics, pictures=_plot(run, classifier.name, metrics))
    if not job.quiet:
        _say(job, data, run, classifier)


def _say(job: Job[Any], data: Data, run: tracking.Run, classifier: Classifier) -> None:
    """Print what a training reached, and where it is."""
    from toolkit.metrics import METRICS

    def reached(*names: str) -> str:
        return ", ".join(f"{METRICS[name].label} {METRICS[name].text(metrics[name])}" for name in names)

    metrics = classifier.metrics
    if data.validation is not None:
        names = ("accuracy", "macro_precision", "macro_recall", "log_loss")
        print(f"On the {len(data.validation):,} images of {data.validation.name}: {reached(*names)}")
    if data.drawn is not None:
        print(f"On {len(data.drawn):,} drawings of {data.drawn.name}: {reached('drawn_accuracy')}")
    print(f"Trained on {len(data.train):,} images of {data.train.name} in {metrics['train_seconds']:.1f} s")
    print(f"Model:  {commandline.shown(job.output)}\nRecord: {commandline.shown(run.directory or '-')}")
    usual = ROOT / "trained" / f"{datasets.model_name(job.kind, job.dataset)}.safetensors"
    model = "" if job.output.resolve() == usual.resolve() else f" --model {commandline.shown(job.output)}"
    data_set = "" if job.dataset == datasets.DEFAULT else f" --dataset {job.dataset}"
    print(f"Next:   python test_{job.kind}.py{model}{data_set}\n        python predict.py")


def _certainty(
    job: Job[Any], data: Data, classifier: Classifier, metrics: dict[str, Any]
) -> tuple[dict[str, float], str]:
    """Fit the "?" threshold, and after --final the temperature, too; return both, and on what.

    A final training leaves no images that it has not seen. So it takes both over from the model that the
    same training without --final has left at the place of its own. Where there is none, variants of images
    that it was trained on must do, on which it looks too sure.
    """
    if job.final and (twin := _twin(job, classifier)):
        if twin["temperature"] != 1:  # as it is for a classifier without scores
            classifier.divide_scores(twin["temperature"])
        return twin, "the same training without --final"
    watched = data.drawn or data.validation or data.train
    images, labels = watched.images, watched.labels
    if data.drawn is None:
        # Images as varied as drawings are: clean ones would make the classifier look too sure.
        images, labels = images[:WATCHED], labels[:WATCHED]
        images = variants(images, [job.seed, 0], 1.0)
    temperature = (
        metrics["temperature"] if "temperature" in metrics else calibrate(classifier, images, labels)
    )
    probabilities = classifier.predict_proba(images)
    threshold = fit_threshold(probabilities, labels, precision=TRUSTED, at_most=DOUBTED)
    return {"temperature": temperature, "unsure_below": threshold}, watched.name


def _twin(job: Job[Any], classifier: Classifier) -> dict[str, float] | None:
    """Return temperature and threshold of the model that the same training without --final has left."""
    try:
        other = type(classifier).load(job.output)
    except ModelFileError:
        return None
    recipe = {name: value for name, value in job.record().items() if name in RECIPE} | {"final": False}
    if any(other.trained_on.get(name) != value for name, value in recipe.items()):
        return None
    return {name: other.metrics[name] for name in ("temperature", "unsure_below")}


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
    """Calibrate a trained classifier on the validation split, and measure it there; {} without one."""
    from toolkit.metrics import evaluate

    if validation_set is None:
        return {}
    temperature = calibrate(classifier, validation_set.images, validation_set.labels)
    metrics = evaluate(validation_set.labels, classifier.predict_proba(validation_set.images))
    return {**metrics, "loss": metrics["log_loss"], "temperature": temperature}


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
