"""Turn recorded strokes into the small pictures that other digit-drawing programs make.

    python bench/strokes_as_pictures.py pendigits FOLDER
    python test_ann.py --drawn FOLDER

Each digit is drawn on a canvas of 448 pixels with a round pen of 55. The longer side of the pen's path takes
45 to 75 % of the canvas, and its middle is up to 12 % of the canvas off centre each way. The canvas is then
averaged down to 28 x 28. So the digits are small, thick and off centre. If the file is
divided into parts, only the test part is drawn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolkit import commandline
from toolkit.drawings import load

CANVAS, PEN = 448, 55


def shrunk(strokes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draw one digit as such a picture, uint8 (28, 28), light on dark."""
    from PIL import Image, ImageDraw

    points = np.concatenate(strokes).astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = rng.uniform(0.45, 0.75) * CANVAS / max((high - low).max(), 1)
    middle = CANVAS / 2 + rng.uniform(-0.12, 0.12, 2) * CANVAS
    picture = Image.new("L", (CANVAS, CANVAS), 0)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        places = (stroke - (low + high) / 2) * scale + middle
        draw.line([tuple(place) for place in places], fill=255, width=PEN)
        for x, y in places:
            draw.ellipse([x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2], fill=255)
    return np.asarray(picture.resize((28, 28), Image.Resampling.BOX))


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("strokes", metavar="SET", help="recorded drawings")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder for the pictures")
    arguments = parser.parse_args(argv)

    from PIL import Image

    drawings = load(arguments.strokes, "test")
    rng = np.random.default_rng(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number, (strokes, label) in enumerate(zip(drawings.strokes, drawings.labels, strict=True)):
        Image.fromarray(shrunk(strokes, rng)).save(arguments.folder / f"{label}_{number:05}.png")
    print(f"{len(drawings):,} pictures in {arguments.folder}")


if __name__ == "__main__":
    commandline.run(main)
