"""Train and test every default recipe as a person does, and print the README's table of results.

    python bench/results.py --data DIR --drawn pendigits.npz [--seeds 3] [--only "svm"]

Each row's command runs with the seeds 0, 1, ...; its seconds are those from the command to the saved model.
The test split of MNIST and the test part of the drawings are reported on, never chosen on. What is done is
kept in `runs/results/`, and not done again: delete a line of `results.jsonl` to have it done again.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from toolkit import commandline, tracking

# The command, and whether its result depends on the seed.
ROWS = {
    "train_softmax.py": True,
    "train_ann.py --fast": True,
    "train_ann.py --augment": True,
    "train_svm.py": False,
    "train_svm.py --augment": True,
    # What lies in `models/`.
    "train_softmax.py --final": True,
    "train_ann.py --augment --epochs 6 --final": True,
    "train_svm.py --augment --copies 4 --half --final": True,
}


def measure(row: str, seed: int, data: str, drawn: str | None, folder: Path) -> dict[str, Any]:
    """Train with one seed, then test: accuracies from 0 to 1, seconds, bytes of the model."""
    script, *flags = row.split()
    test = script.replace("train_", "test_")
    model = folder / f"{row.replace(' ', '_')}-{seed}.safetensors"
    common = ["--data", data, "--quiet"]

    def call(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    start = time.perf_counter()
    call(
        str(ROOT / script),
        *flags,
        *common,
        "--seed",
        str(seed),
        "--wandb",
        "disabled",
        "--output",
        str(model),
    )
    result: dict[str, Any] = {"row": row, "seed": seed, "seconds": time.perf_counter() - start}
    available = tracking.processors()
    result["cores"] = min(available, int(os.environ.get("OMP_NUM_THREADS", available)))
    result["bytes"] = model.stat().st_size
    report = folder / "report.json"
    tested = [
        str(ROOT / test),
        "--model",
        str(model),
        "--json",
        str(report),
        "--output",
        str(folder / "plots"),
    ]
    call(*tested, *common)
    result["test"] = json.loads(report.read_text())["accuracy"]
    if drawn:
        pictures = folder / "pictures"
        if not pictures.is_dir():
            call(str(ROOT / "bench" / "strokes_as_pictures.py"), drawn, str(pictures))
        for name, path in (("strokes", drawn), ("pictures", str(pictures))):
            call(*tested, "--drawn", path, "--quiet")
            result[name] = json.loads(report.read_text())["accuracy"]
    return result


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--data", metavar="DIR", required=True, help="where MNIST lies")
    parser.add_argument("--drawn", metavar="FILE", help="recorded drawings with a test part, .npz")
    parser.add_argument("--seeds", type=commandline.positive_int, default=3, help="how many seeds")
    parser.add_argument("--only", default="", help="only the rows in which this text occurs")
    arguments = parser.parse_args(argv)
    folder = Path("runs/results").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "results.jsonl"
    lines = record.read_text().splitlines() if record.exists() else []
    done = {(line["row"], line["seed"]): line for line in map(json.loads, lines)}
    data = str(Path(arguments.data).resolve())
    drawn = str(Path(arguments.drawn).resolve()) if arguments.drawn else None
    for row, random in ROWS.items():
        for seed in range(arguments.seeds if random else 1):
            if arguments.only in row and (row, seed) not in done:
                result = done[row, seed] = measure(row, seed, data, drawn, folder)
                with open(record, "a") as file:
                    file.write(json.dumps(result) + "\n")
                print(json.dumps(result), flush=True)
    print("\n| command | seeds | MNIST test | strokes | pictures | seconds | cores | MB |")
    print("| --- " * 8 + "|")
    for row in ROWS:
        results = [line for (name, _), line in done.items() if name == row]
        if results:
            cells = [f"`{row}`", str(len(results))]
            for key in ("test", "strokes", "pictures"):
                values = [100 * line[key] for line in results if key in line]
                spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
                cells.append(f"{statistics.mean(values):.2f}{spread} %" if values else "")
            cells.append(f"{statistics.median(line['seconds'] for line in results):.0f}")
            cells.append(str(results[0]["cores"]))
            cells.append(f"{results[0]['bytes'] / 1e6:.1f}")
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    commandline.run(main)
