"""Test the models in `models/`, and write what they reach into `models/README.md`.

    python bench/shipped_models.py [--data DIR]

For each model the page gives the command that trains it, its metrics on the test split and on the test part
of the drawings, its size, prediction time and checksum. The accuracies go into the model's file, too, for the
window to show. Run this only for finished models: nothing is ever chosen on a test split. Measure on an
otherwise idle machine.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from classifier import write_safely
from predict import CLASSIFIERS
from toolkit import commandline
from toolkit.metrics import METRICS
from toolkit.training import Job

import strokes_as_pictures

HEAD = """# The models that come with the toolkit

They answer until you train your own: a model in `trained/` goes first. `python test_ann.py` and the window
say which one they use. To replace a model here, copy another file over it. `bench/shipped_models.py` writes
this page.

Each was trained on all 60,000 images of MNIST and on drawings of 30 people, and on nothing that it is tested
on below. [results/models.md](../results/models.md) says how the recipes were chosen.
"""


def command(kind: str, trained_on: dict[str, Any]) -> str:
    """Return the command that trains a model again: what differs from the defaults, as flags."""
    config = import_module(f"train_{kind}").Config
    values, defaults = config.read(trained_on["config"]).values(), config().values()
    words = [f"python train_{kind}.py"]
    for name, value in values.items():
        if name in ("jobs", "device"):  # where it was trained changes nothing
            continue
        flag = name.replace("_", "-")
        if value != defaults[name] and isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value != defaults[name]:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{flag} {shlex.quote(text)}")
    words += [f"--drawings {name}" for name in trained_on["drawings"]]
    copies = trained_on["drawing_copies"]
    words += [f"--drawing-copies {copies}"] if copies != Job.drawing_copies else []
    words += ["--final"] if trained_on["final"] else []
    words += [f"--seed {trained_on['seed']}"] if trained_on["seed"] else []
    return " ".join(words)


def describe(kind: str, name: str, tests: dict[str, Any]) -> str:
    """Test a model, and return its part of the page; `tests` are image sets by the names there."""
    from toolkit.evaluation import evaluate, measure

    from threadpoolctl import threadpool_limits

    path = ROOT / "models" / f"{kind}.safetensors"
    model = getattr(import_module(kind), name).load(path)
    with threadpool_limits(1):  # softmax and SVM compute with NumPy's threads
        measured = measure(model, next(iter(tests.values())).images)
    tested = {title: evaluate(own.labels, model.predict_proba(own.images)) for title, own in tests.items()}
    model.metrics["tested"] = dict(
        zip(("mnist", "drawings"), [metrics["accuracy"] for metrics in tested.values()], strict=False)
    )
    model.save(path)
    trained, latency = model.trained_on, METRICS["latency"]
    rows = [
        ["", ""],
        ["---", "---"],
        ["trained on", f"{trained['count']:,} images of {trained['images']}, seed {trained['seed']}"],
        ['says "?" below', f"{100 * model.metrics['unsure_below']:.0f} %, by {trained['unsure_by']}"],
        ["model file", f"{METRICS['size'].text(path.stat().st_size)}, {measured['parameters']:,} parameters"],
        [latency.label, f"{latency.text(measured['latency'])} (median, one thread)"],
        ["versions", ", ".join(f"{library} {version}" for library, version in trained["versions"].items())],
        ["SHA-256", f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`"],
    ]
    shown = {key: metric for key, metric in METRICS.items() if metric.compute}
    head = ["tested on", "images", *(metric.label for metric in shown.values())]
    scores = [head, ["---"] * len(head)]
    for title, images in tests.items():
        cells = [metric.text(tested[title][key]) for key, metric in shown.items()]
        scores.append([title, f"{len(images):,}", *cells])
        print(f"{name}, {title}: {cells[0]}", flush=True)
    parts = [f"## {name}: `{kind}.safetensors`", f"    {command(kind, trained)}"]
    parts += ["\n".join(f"| {' | '.join(cells)} |" for cells in table) for table in (rows, scores)]
    return "\n\n".join(parts).replace("\N{NO-BREAK SPACE}", " ") + "\n"


def describe_detector() -> str:
    """Return the detector's part of the page."""
    from detector import Detector

    path = ROOT / "models" / "detector.safetensors"
    model = Detector.load(path)
    flagged = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in model.metrics["flagged"].items())
    rows = [
        ["", ""],
        ["---", "---"],
        ["trained on", f"{model.trained_on['images']}, seed {model.trained_on['seed']}"],
        ["takes for no digit, on the validation part", flagged],
        ["model file", f"{METRICS['size'].text(path.stat().st_size)}, {model.parameters():,} parameters"],
        ["SHA-256", f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`"],
    ]
    parts = ["## Detector: `detector.safetensors`", "    python train_detector.py"]
    parts += ["Says whether an image is a digit at all. `bench/nondigits.py` measures it."]
    parts += ["\n".join(f"| {' | '.join(cells)} |" for cells in rows)]
    return "\n\n".join(parts).replace("\N{NO-BREAK SPACE}", " ") + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--data", metavar="DIR", help="where MNIST is (default: as in the trainings)")
    arguments = parser.parse_args(argv)

    from toolkit import datasets, drawings

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        strokes_as_pictures.main(["pendigits", str(pictures)])
        tests = {
            "MNIST, test split": datasets.load("test", data=arguments.data),
            "drawings, strokes": drawings.load_drawn("pendigits", "test"),
            "drawings, pictures": drawings.load_drawn(pictures),
        }
    parts = [describe(kind, name, tests) for kind, name in CLASSIFIERS.items()]
    parts.append(describe_detector())
    write_safely(ROOT / "models" / "README.md", "\n".join([HEAD, *parts]).encode())


if __name__ == "__main__":
    commandline.run(main)
