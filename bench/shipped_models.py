"""Test the models in `models/`, and write what came out into `models/README.md`.

    python bench/shipped_models.py --data DIR --drawn pendigits.npz

Of each: the command that trains it, the trial it was chosen as, its metrics on the test split and on the test
part of the drawings, size, prediction time and checksum. Only for a finished model: the test splits are
reported on, never chosen on. Measure on an otherwise idle machine.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import strokes_as_pictures

from classifier import write_safely
from toolkit import commandline

KINDS = {"softmax": "Softmax", "ann": "ANN", "svm": "SVM"}
HEAD = """# The models that come with the toolkit

They are read where `trained/` has none of yours; `python test_ann.py` and the window say which was taken. A
model that you train lies in `trained/` and goes first. To put a larger or newer one in the place of one here,
copy its file over it. This page is written by `bench/shipped_models.py`.

Each was fitted on all 60,000 images of MNIST. The configurations of the ANN and the SVM are trials on the
fronts of the sweeps in `results/`, chosen there by images and drawings that are in no test.
"""


def command(kind: str, trained_on: dict[str, Any]) -> str:
    """The command that trains a model again: what differs from the defaults, written out as flags."""
    defaults = import_module(f"train_{kind}").CONFIG
    flags = []
    for name, value in trained_on["config"].items():
        if value == defaults[name]:
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            flags.append(f"{flag} {','.join(map(str, value))}")
        else:
            flags.append(flag if name == "augment" and value == 1 else f"{flag} {value}")
    flags += ["--final"] if trained_on["images"].endswith("/all") else []
    flags += [f"--drawn {trained_on['unsure_by']}"] if "." in trained_on["unsure_by"] else []
    flags += [f"--seed {trained_on['seed']}"] if trained_on["seed"] else []
    return " ".join([f"python train_{kind}.py", *flags])


def describe(kind: str, name: str, tests: dict[str, Any]) -> str:
    """A model's part of the page; `tests` are images and labels by the name of the test set."""
    from threadpoolctl import threadpool_limits

    from toolkit.evaluation import evaluate
    from toolkit.worker import measure

    path = ROOT / "models" / f"{kind}.safetensors"
    classifier = getattr(import_module(kind), name).load(path)
    # NumPy's threads, too: the softmax and the SVM compute with them.
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        measured = measure(classifier, tests["MNIST, test split"].images, Path(folder))
    about = classifier.trained_on
    trial = about["from_trial"]
    lines = [f"## {name}: `{kind}.safetensors`", "", f"    {command(kind, about)}", ""]
    rows = [
        (
            "chosen as",
            f"trial {trial} of `results/{kind}_trials.csv`" if trial is not None else "the default",
        ),
        ("fitted on", f"{about['count']:,} images of MNIST, seed {about['seed']}"),
        ('says "?" below', f"{100 * classifier.metrics['unsure_below']:.0f} %, by {about['unsure_by']}"),
        ("size", f"{path.stat().st_size / 1e6:.2f} MB, {measured['parameters']:,} numbers"),
        ("one image is read in", f"{1000 * measured['latency']:.2f} ms (median, one thread)"),
        ("versions", ", ".join(f"{library} {version}" for library, version in about["versions"].items())),
        ("SHA-256", f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`"),
    ]
    lines += ["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows), ""]
    figures = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "worst_recall", "log_loss")
    lines += ["| tested on | images | " + " | ".join(figure.replace("_", " ") for figure in figures) + " |"]
    lines += ["| --- " * (2 + len(figures)) + "|"]
    for title, images in tests.items():
        metrics = evaluate(images.labels, classifier.predict_proba(images.images))
        cells = [f"{100 * metrics[f]:.2f} %" if f != "log_loss" else f"{metrics[f]:.4f}" for f in figures]
        lines.append(f"| {title} | {len(images):,} | {' | '.join(cells)} |")
        print(f"{name}, {title}: {metrics['accuracy']:.2%}; {1000 * measured['latency']:.2f} ms", flush=True)
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--data", metavar="DIR", required=True, help="where MNIST lies")
    parser.add_argument(
        "--drawn", metavar="FILE", required=True, help="recorded drawings with a test part, .npz"
    )
    arguments = parser.parse_args(argv)

    import torch

    from toolkit import datasets

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        strokes_as_pictures.main([arguments.drawn, str(pictures)])
        tests = {
            "MNIST, test split": datasets.load("test", data=arguments.data),
            "drawings, strokes": datasets.load_drawn(arguments.drawn),
            "drawings, pictures": datasets.load_drawn(pictures),
        }
    parts = [describe(kind, name, tests) for kind, name in KINDS.items()]
    write_safely(ROOT / "models" / "README.md", "\n".join([HEAD, *parts]).encode())


if __name__ == "__main__":
    commandline.run(main)
