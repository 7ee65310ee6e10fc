"""Measure how many non-digits the detector flags, and how many digits.

    python bench/nondigits.py                          # on validation images, to choose by
    python bench/nondigits.py --part test              # the final figures
    python bench/nondigits.py --sheet nondigits.png    # with a picture of its mistakes

The table gives the share of each kind that counts as no digit, and beside it the share that the ANN alone
would have answered without a "?". Nothing was trained on the kinds marked "unseen", nor on printed letters.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from classifier import find_model, write_safely
from toolkit import commandline, datasets, drawings, nondigits
from toolkit.framing import frame_picture

from strokes_as_pictures import shrunk

FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneralItalic", "cmr10", "cmmi10")
LETTERS = "AEFHKMNPRTVWXYaefhkmnrtuvwxy%&#+="  # that resemble no digit


def printed(text: str) -> np.ndarray:
    """Return framed pictures of letters in each of the fonts, uint8 (n, 28, 28)."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    images = []
    for name in FONTS:
        font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf", 120)
        for letter in text:
            picture = Image.new("L", (240, 240), 255)
            ImageDraw.Draw(picture).text((60, 40), letter, font=font, fill=0)
            images.append(frame_picture(np.asarray(picture)))
    return np.stack([image for image in images if image.any()])  # a font may lack a letter


def collect(part: str, count: int, data: str | None, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return images of digits and of non-digits by their names."""
    rng = np.random.default_rng(seed)
    drawn = drawings.load("pendigits", part)
    pictures = np.stack(
        [frame_picture(shrunk(strokes, rng)) for strokes in drawn.strokes[:: len(drawn) // 1000]]
    )
    digits = {
        f"MNIST, {part}": datasets.load(part, data=data).images,
        "drawings, strokes": drawings.framed(drawn),
        "drawings, pictures": pictures,
        "printed digits": printed("0123456789"),
    }
    recorded = nondigits.by_digit(drawn)
    others = {
        f"{kind.group}: {name}{' (unseen)' if kind.unseen else ''}": nondigits.images(
            name, recorded, count, rng
        )
        for name, kind in nondigits.KINDS.items()
    }
    return digits, {**others, "letters and signs: printed (unseen)": printed(LETTERS)}


def sheet(rows: list[np.ndarray]) -> bytes:
    """Draw up to 24 images of each row, dark on light, as a PNG."""
    import io

    from PIL import Image

    paper = np.full((30 * len(rows), 30 * 24), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images[:24]):
            paper[30 * row + 1 : 30 * row + 29, 30 * column + 1 : 30 * column + 29] = 255 - image
    content = io.BytesIO()
    Image.fromarray(paper).resize((paper.shape[1] * 2, paper.shape[0] * 2)).save(content, "PNG")
    return content.getvalue()


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    add = parser.add_argument
    add("--part", choices=("validation", "test"), default="validation", help="of MNIST and of the drawings")
    add("--count", type=commandline.positive_int, default=500, help="non-digits of each kind")
    add("--data", metavar="DIR", help="where MNIST is")
    add("--seed", type=commandline.seed, default=1, help="of the non-digits")
    add("--sheet", metavar="FILE", help="a PNG: of each row of the table what is judged wrongly")
    arguments = parser.parse_args(argv)

    from ann import ANN
    from detector import Detector

    import torch

    torch.set_num_threads(1)
    detector, ann = Detector.load(find_model("detector")), ANN.load(find_model("ann"))
    digits, others = collect(arguments.part, arguments.count, arguments.data, arguments.seed)
    print('| | images | flagged | ANN without "?" |\n| --- | ---: | ---: | ---: |')
    wrong = []
    for name, images in {**digits, **others}.items():
        flagged = detector.digit_probability(images) < 0.5
        sure = ann.predict_proba(images).max(axis=1) >= ann.metrics["unsure_below"]
        print(f"| {name} | {len(images):,} | {flagged.mean():.1%} | {sure.mean():.0%} |".replace("%", " %"))
        wrong.append(images[flagged if name in digits else ~flagged])
    if arguments.sheet:
        write_safely(arguments.sheet, sheet(wrong))


if __name__ == "__main__":
    commandline.run(main)
