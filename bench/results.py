"""Train and test every default recipe as a user would, and print the README's table of results.

    python bench/results.py [--data DIR] [--seeds 3] [--only "svm"]

Each row's command runs with the seeds 0, 1, ...; its time is that from the command to the saved model. The
test split of MNIST and the test part of the drawings are only reported on. What was measured is kept in
`runs/results/results.jsonl` and not measured again: delete a line there to repeat it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from predict import CLASSIFIERS
from toolkit import commandline, datasets
from toolkit.files import append_line, read_json, read_lines
from toolkit.metrics import METRICS
from toolkit.report.texts import Texts

ROWS = [
    *(f"train_{kind}.py{flags}" for kind in CLASSIFIERS for flags in ("", " --augment")),
    "train_ann.py --fast",
    # The recipes of the models in `models/`
    "train_softmax.py --drawings pendigits --final",
    "train_ann.py --augment --drawings pendigits --final",
    "train_svm.py --augment --copies 1 --half --drawings pendigits --final",
]
NOT_RANDOM = ("train_svm.py",)  # every seed gives the same model
TESTS = {"test": "MNIST test", "strokes": "strokes", "pictures": "pictures"}


def measure(row: str, seed: int, data: str, folder: Path) -> dict[str, Any]:
    """Train with one seed, then test. Returns accuracies from 0 to 1, seconds, and bytes of the model."""
    script, *flags = row.split()
    model = folder / f"{row.replace(' ', '_')}-{seed}.safetensors"

    def run(*words: str | Path) -> None:
        subprocess.run([sys.executable, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    started = time.perf_counter()
    common = ["--data", data, "--quiet"]
    run(ROOT / script, *flags, *common, "--seed", str(seed), "--wandb", "disabled", "--output", model)
    result: dict[str, Any] = {"row": row, "seed": seed, "seconds": time.perf_counter() - started}
    available = commandline.processors()
    result["cores"] = min(available, int(os.environ.get("OMP_NUM_THREADS", available)))
    result["bytes"] = model.stat().st_size

    def accuracy(*words: str) -> float:
        test = ROOT / script.replace("train_", "test_")
        run(test, "--model", model, "--quiet", "--json", "test.json", "--output", "plots", *words)
        return read_json(folder / "test.json")["accuracy"]

    result["test"] = accuracy("--data", data)
    pictures = folder / "pictures"
    if not pictures.is_dir():
        run(ROOT / "bench" / "strokes_as_pictures.py", "pendigits", pictures)
    result["strokes"] = accuracy("--drawn", "pendigits")
    result["pictures"] = accuracy("--drawn", str(pictures))
    return result


def table(measured: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table: mean ± standard deviation over the seeds."""
    head = ["command", "seeds", *(f"{name} (%)" for name in TESTS.values()), "time", "cores", "model file"]
    rows = [head, ["---"] * len(head)]
    for row in dict.fromkeys(line["row"] for line in measured):
        own = [line for line in measured if line["row"] == row]
        shares = [Texts("en").mean([line[name] for line in own if name in line]) for name in TESTS]
        seconds = METRICS["train_seconds"].text(statistics.median(line["seconds"] for line in own))
        size = METRICS["size"].text(own[0]["bytes"])
        rows.append([f"`{row}`", str(len(own)), *shares, seconds, str(own[0]["cores"]), size])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--data", metavar="DIR", help="where MNIST is (default: as in the trainings)")
    parser.add_argument("--seeds", type=commandline.positive_int, default=3, help="how many seeds")
    parser.add_argument("--only", default="", help="only the rows in which this text occurs")
    arguments = parser.parse_args(argv)
    folder = Path("runs/results").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    measured = read_lines(folder / "results.jsonl")
    # The trainings run in another folder.
    data = str(datasets.find_mnist(arguments.data).resolve())
    for row in (row for row in ROWS if arguments.only in row):
        for seed in range(1 if row in NOT_RANDOM else arguments.seeds):
            if not any((line["row"], line["seed"]) == (row, seed) for line in measured):
                measured.append(measure(row, seed, data, folder))
                append_line(folder / "results.jsonl", measured[-1])
                print(measured[-1], flush=True)
    print(f"\n{table(measured)}")


if __name__ == "__main__":
    commandline.run(main)
