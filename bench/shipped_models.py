"""Test the models in `models/`, and write what they reach into `models/README.md`.

    python bench/shipped_models.py --data DIR --drawn pendigits.npz

For each model the page gives the command that trains it, the trial that it comes from, its metrics on the
test split and on the test part of the drawings, its size, prediction time and checksum. Run this only for
finished models: nothing is ever chosen on a test split. Measure on an otherwise idle machine.
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

import strokes_as_pictures

HEAD = """# The models that come with the toolkit

They answer until you train your own: a model in `trained/` goes first. `python test_ann.py` and the window
say which one they use. To replace a model here, copy another file over it. `bench/shipped_models.py` writes
this page.

Each was trained on all 60,000 images of MNIST. The configurations of the ANN and the SVM are trials on the
fronts of the sweeps in `results/`. They were chosen by images and drawings that are in no test.
"""


def command(kind: str, trained_on: dict[str, Any]) -> str:
    """Return the command that trains a model again: what differs from the defaults, as flags."""
    config = import_module(f"train_{kind}").Config
    values, defaults = config.read(trained_on["config"]).values(), config().values()
    words = [f"python train_{kind}.py"]
    for name, value in values.items():
        flag = name.replace("_", "-")
        if value != defaults[name] and isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value != defaults[name]:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{flag} {shlex.quote(text)}")
    words += ["--final"] if trained_on["images"].endswith("/all") else []
    words += [f"--drawn {trained_on['unsure_by']}"] if "." in trained_on["unsure_by"] else []
    words += [f"--seed {trained_on['seed']}"] if trained_on["seed"] else []
    return " ".join(words)


def describe(kind: str, name: str, tests: dict[str, Any]) -> str:
    """Return a model's part of the page; `tests` are image sets by the name that the page gives them."""
    from toolkit.evaluation import evaluate, measure

    from threadpoolctl import threadpool_limits

    path = ROOT / "models" / f"{kind}.safetensors"
    model = getattr(import_module(kind), name).load(path)
    with threadpool_limits(1):  # softmax and SVM compute with NumPy's threads
        measured = measure(model, next(iter(tests.values())).images)
    trained = model.trained_on
    trial = f"trial {trained['from_trial']} of `results/{kind}_trials.jsonl`"
    latency = METRICS["latency"]
    rows = [
        ["", ""],
        ["---", "---"],
        ["configuration", "the default" if trained["from_trial"] is None else trial],
        ["trained on", f"{trained['count']:,} images of MNIST, seed {trained['seed']}"],
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
        metrics = evaluate(images.labels, model.predict_proba(images.images))
        cells = [metric.text(metrics[key]) for key, metric in shown.items()]
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
    parser.add_argument("--data", metavar="DIR", required=True, help="where MNIST is")
    drawn = "recorded drawings with a test part, .npz"
    parser.add_argument("--drawn", metavar="FILE", required=True, help=drawn)
    arguments = parser.parse_args(argv)

    from toolkit import datasets, drawings

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        strokes_as_pictures.main([arguments.drawn, str(pictures)])
        tests = {
            "MNIST, test split": datasets.load("test", data=arguments.data),
            "drawings, strokes": drawings.load_drawn(arguments.drawn, "test"),
            "drawings, pictures": drawings.load_drawn(pictures),
        }
    parts = [describe(kind, name, tests) for kind, name in CLASSIFIERS.items()]
    parts.append(describe_detector())
    write_safely(ROOT / "models" / "README.md", "\n".join([HEAD, *parts]).encode())


if __name__ == "__main__":
    commandline.run(main)
