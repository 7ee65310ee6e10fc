"""Give damaged and senseless input to every part, and count how it ends.

    python tests/faults/run.py                   # the short campaign: `make faults`
    python tests/faults/run.py --long            # the long one, some hours
    python tests/faults/run.py models options    # some parts of it

Every case must end with a valid result or one sentence, within 2 s of CPU and 1 GB. The seeds are fixed. Exit
status 1 and a line for each kind of fault when one does not.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

import harness

# Where each part is, and its cases, short (0: left out) and long; None: all there are. Models: of each kind.
PARTS: dict[str, tuple[str, int | None, int | None]] = {
    "models": ("models.run", 300, 20_000),
    "recordings": ("drawn.run_recordings", 200, 10_000),
    "pictures": ("drawn.run_pictures", 600, 10_000),
    "mnist": ("drawn.run_mnist", 300, 5_000),
    "runs": ("runs.run", 40, 500),
    "databases": ("databases.run", 60, 500),
    "results": ("databases.run_results", 0, 200),
    "kills": ("kills.run", 0, 100),
    "places": ("places.run", 0, 150),
    "window": ("window.run", 2_000, 100_000),
    "options": ("options.run", 200, None),
    "outputs": ("options.run_outputs", None, None),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--long", action="store_true", help="with the counts of the long campaign")
    parser.add_argument("--count", type=int, help="with this many cases")
    arguments = parser.parse_args()
    faults = []
    harness.prepare()
    for part in arguments.parts or PARTS:
        place, short, long = PARTS[part]
        module, _, function = place.partition(".")
        started, here = time.perf_counter(), Path.cwd()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            os.chdir(folder)
            try:
                count = arguments.count or (long if arguments.long else short)
                if count == 0:
                    continue
                faults += getattr(importlib.import_module(module), function)(Path(folder), count)
            finally:
                os.chdir(here)
        print(f"{'':10} {time.perf_counter() - started:7.1f} s", flush=True)
    for line in faults:
        print(line.encode("ascii", "backslashreplace").decode())
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
