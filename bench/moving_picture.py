"""Make the moving picture at the top of README.md: the window, and recorded digits drawn in it.

    xvfb-run -a -s "-screen 0 1366x768x24" python bench/moving_picture.py window.webp

Opens the window of `predict.py`, draws a few digits of one person with events of the pen, and takes a picture
after every few. Each picture waits for the answers and is shown for as long as the pen takes at the speed
`PACE`, so a slow computer makes the same moving picture.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import predict
from classifier import InputError
from digitpainter import Painter
from toolkit import commandline, handwriting
from toolkit.drawings import find, load_drawings
from toolkit.framing import interpolated, travelled
from toolkit.painting import BOX

if TYPE_CHECKING:
    from PIL import Image

PACE = 450  # units of the box a second
FRAME = 60  # ms between two pictures while the pen moves
HELD = 1500  # ms that the answers to a whole digit stay
SIZE = 0.62  # share of the canvas that a digit takes: many people write small
MOST = 1_000_000  # bytes


def enlarged(strokes: list[np.ndarray]) -> list[np.ndarray]:
    """Return a digit's strokes in the middle of the box, its longer side `SIZE` of the box."""
    return [(SIZE * stroke + 0.5) * BOX for stroke in handwriting.resized(strokes)]


def evenly(stroke: np.ndarray, step: float) -> np.ndarray:
    """Return points (k, 2) along a stroke, `step` apart, with its first and last."""
    distances = travelled(stroke)
    places = np.linspace(0, distances[-1], max(2, round(distances[-1] / step) + 1))
    return interpolated(places, distances, stroke)


def picture(painter: Painter) -> Image.Image:
    """Return the window when every answer is there. Raises InputError if one does not come."""
    from PIL import ImageGrab

    end = time.monotonic() + 60
    painter.root.update()
    while painter.waiting:
        if time.monotonic() > end:
            raise InputError("the classifiers do not answer.")
        painter.root.update()
        time.sleep(0.005)
    time.sleep(0.05)  # what the window does at the end of a frame
    painter.root.update()
    root = painter.root
    left, top = root.winfo_rootx(), root.winfo_rooty()
    return ImageGrab.grab((left, top, left + root.winfo_width(), top + root.winfo_height()))


def drawn(painter: Painter, strokes: list[np.ndarray]) -> Iterator[tuple[Image.Image, int]]:
    """Draw a digit; yield pictures, and for how many milliseconds each is shown."""
    event, per_frame = painter.canvas.event_generate, 4
    for stroke in enlarged(strokes):
        places = evenly(stroke, PACE * FRAME / 1000 / per_frame)
        pixels = np.rint(places * (painter.canvas.winfo_width() / BOX)).astype(int).tolist()
        event("<ButtonPress-1>", x=pixels[0][0], y=pixels[0][1])
        for number, (x, y) in enumerate(pixels[1:], start=1):
            event("<B1-Motion>", x=x, y=y)
            if number % per_frame == 0:
                yield picture(painter), FRAME
        event("<ButtonRelease-1>", x=x, y=y)
        yield picture(painter), 3 * FRAME  # the way to the next stroke
    yield picture(painter), HELD


def save(frames: list[tuple[Image.Image, int]], file: Path) -> None:
    """Write the moving picture. Raises InputError if it is too large for a page."""
    pictures, durations = zip(*frames, strict=True)
    pictures[0].save(
        file, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=75, method=6
    )
    size = file.stat().st_size
    print(f"{file}: {len(frames)} frames, {sum(durations) / 1000:.0f} s, {size / 1e3:,.0f} kB")
    if size > MOST:
        raise InputError(f"{file} is larger than {MOST / 1e6:g} MB: show fewer digits.")


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="the moving picture, a .webp")
    parser.add_argument("--drawings", default="pendigits", help="recorded drawings, an .npz")
    parser.add_argument("--digits", default="7392", help="the digits to draw")
    parser.add_argument("--writer", default="30", help="whose digits; 30 is of the validation part")
    parser.add_argument("--dark", action="store_true", help="light on dark")
    arguments = parser.parse_args(argv)
    if arguments.output.suffix != ".webp":
        parser.error("the moving picture's name ends in .webp")
    recorded = load_drawings(find(arguments.drawings))
    chosen = []
    for digit in arguments.digits:
        own = (recorded.labels.astype(str) == digit) & (recorded.writers.astype(str) == arguments.writer)
        if not own.any():
            raise InputError(f"there is no {digit} by {arguments.writer} in {arguments.drawings}.")
        chosen.append(recorded.strokes[int(np.flatnonzero(own)[0])])

    painter = Painter(dark=arguments.dark, scale=None)
    predict.register(painter)
    frames = [(picture(painter), HELD // 2)]
    for strokes in chosen:
        painter.clear()
        frames += drawn(painter, strokes)
    painter.close()
    save(frames, arguments.output)


if __name__ == "__main__":
    commandline.run(main)
