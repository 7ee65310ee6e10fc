"""Measure the toolkit against what people use instead, and write `bench/RESULTS.md`.

    python bench/run.py                       # all parts, in less than half an hour on 2 cores
    python bench/run.py --only svm growth     # some of them; the page keeps the others as they were
    python bench/run.py --only ann --recipe-epochs 14

Measure on an otherwise idle machine. As soon as a part is done, its figures are kept in `RESULTS.json` beside
the page, with the date and the machine. A part that fails is named at the end, and the others go on.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from classifier import InputError, write_safely
from toolkit import commandline, datasets
from toolkit.files import read_json, write_json

import augmented_images
import first_model
import growth
import measuring
import svm_on_pixels
from measuring import BENCH, QUICK, ROOT, Settings, table

HEAD = """# Benchmarks

`make bench` measures this and writes this page. Times are medians, with the range in brackets. A ratio says
how many times as fast the toolkit is.
"""
SCREEN = ("xvfb-run", "-a", "-s", "-screen 0 1366x768x24")


@dataclasses.dataclass(frozen=True)
class Script:
    """A benchmark that is a command of its own. Its result is the lines that it prints."""

    TITLE: str
    MINUTES: float
    words: Callable[[Settings], list[object]]
    before: Sequence[str] = ()

    def measure(self, settings: Settings) -> dict[str, Any]:
        """Run the command in a fresh process."""
        with tempfile.TemporaryDirectory() as folder:
            lines = measuring.run(*self.words(settings), folder=folder, before=self.before).splitlines()
        print("\n".join(f"  {line}" for line in lines), flush=True)
        return {"lines": lines}

    def page(self, result: dict[str, Any]) -> str:
        """Write the result as Markdown."""
        return "\n".join(f"    {line}" for line in result["lines"])


def sweep(settings: Settings) -> list[object]:
    """Return the command of the sweep's benchmark."""
    counts = ["--trials", settings.trials, "--free-trials", settings.free_trials]
    return [BENCH / "sweep_workers.py", *settings.flags(), *counts]


PARTS: dict[str, Any] = {
    "ann": first_model,
    "augment": augmented_images,
    "svm": svm_on_pixels,
    "growth": growth,
    "sweep": Script("The sweep and its workers", 3, sweep),
    "painter": Script(
        "The painter",
        2,
        lambda settings: [BENCH / "painter_latency.py", settings.drawn],
        before=SCREEN if shutil.which("xvfb-run") else (),  # else on the user's own screen
    ),
}


def measure(name: str, settings: Settings) -> dict[str, Any]:
    """Measure one part. Returns its result, with where and when it was measured."""
    busy = measuring.work_of_others()
    if busy > 0.1:
        print(
            f"  Other programs use {100 * busy:.0f} % of the processors: the times will be too long.",
            flush=True,
        )
    started = time.time()
    result = PARTS[name].measure(settings)
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(started))
    entry = {
        "date": date,
        "minutes": (time.time() - started) / 60,
        "busy": busy,
        "quick": settings.limit is not None,
    }
    return {**entry, "machine": measuring.machine(), "result": result}


def page(stored: dict[str, Any]) -> str:
    """Write all results as Markdown; `stored` is what `measure` returned, by the names of the parts."""
    machines: list[dict[str, str]] = []
    sections = []
    for name in (name for name in PARTS if name in stored):
        entry = stored[name]
        if entry["machine"] not in machines:
            machines.append(entry["machine"])
        where = f"machine {machines.index(entry['machine']) + 1}"
        measured = (
            f"`python bench/run.py --only {name}` on {where}, {entry['date']}, {entry['minutes']:.1f} minutes"
        )
        if entry["busy"] is not None and entry["busy"] > 0.1:
            measured += f"; other programs used {100 * entry['busy']:.0f} % of the processors when it started"
        warning = "**Tiny sizes: these figures mean nothing.**\n\n" * entry["quick"]
        text = PARTS[name].page(entry["result"])
        sections.append(f"## {PARTS[name].TITLE}\n\n{warning}{text}\n\n{measured}.\n")
    head = ["", *(f"machine {number}" for number in range(1, len(machines) + 1))]
    keys = list(dict.fromkeys(key for at in machines for key in at))
    rows = [[key, *(at.get(key, "") for at in machines)] for key in keys]
    return "\n".join([HEAD, table(head, *rows) + "\n", *sections])


def store(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Keep what one part measured beside what the others did, and write the page again."""
    path = folder / "RESULTS.json"
    stored = read_json(path) if path.is_file() else {}
    stored[name] = entry
    write_json(path, stored)
    write_safely(folder / "RESULTS.md", page(read_json(path)).encode())


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    parts = f"measure these only: {', '.join(PARTS)}"
    add("--only", nargs="+", choices=tuple(PARTS), metavar="PART", help=parts)
    add("--data", metavar="DIR", help="where MNIST lies (default: $MNIST_DIR, else ./data)")
    add("--drawn", metavar="FILE", default=Settings.drawn, help="recorded drawings for the painter")
    epochs = "of the usual recipe, which has 14: more than a minute each"
    default = Settings.recipe_epochs
    add("--recipe-epochs", type=commandline.positive_int, metavar="N", default=default, help=epochs)
    add("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    add("--output", type=Path, metavar="DIR", help="where the results go (default: bench, or runs/bench)")
    arguments = parser.parse_args(argv)
    # The benchmarks run in folders of their own.
    data = None if arguments.quick else str(datasets.find_mnist(arguments.data).resolve())
    settings = dataclasses.replace(
        QUICK if arguments.quick else Settings(),
        data=data,
        drawn=str(Path(arguments.drawn).resolve()),
        recipe_epochs=arguments.recipe_epochs,
    )
    folder = arguments.output or (ROOT / "runs" / "bench" if arguments.quick else BENCH)

    left = list(dict.fromkeys(arguments.only or PARTS))
    for name in list(left):
        print(f"{name}: {PARTS[name].TITLE}, about {PARTS[name].MINUTES} minutes on 2 cores", flush=True)
        try:
            store(folder, name, measure(name, settings))
            left.remove(name)
        except (Exception, SystemExit) as error:  # one part must not take the others with it
            print(f"  failed: {type(error).__name__}: {error}", flush=True)
        except KeyboardInterrupt:
            print(f"To go on: python bench/run.py --only {' '.join(left)}", flush=True)
            raise
    print(f"Written: {commandline.shown(folder / 'RESULTS.md')}", flush=True)
    if left:
        again = f"python bench/run.py --only {' '.join(left)}"
        raise InputError(f"not measured: {', '.join(left)}; to try again: {again}")


if __name__ == "__main__":
    commandline.run(main)
