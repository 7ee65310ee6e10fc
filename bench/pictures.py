"""Make the pictures of the README's tour from what ships: the models, the trials, the records of trainings.

python bench/pictures.py            # results/pictures/*.png, in a minute
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pareto
import test_ann
from toolkit import augment, commandline, figures, tracking

OUTPUT = ROOT / "results" / "pictures"
WIDTH = 960  # pixels


def main(argv: list[str] | None = None) -> None:
    commandline.Parser(__doc__).parse_args(argv)
    OUTPUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        augment.main(["--output", str(made / "augmentation.png")])
        epochs = tracking.read_epochs(ROOT / "results" / "train-ann")
        figures.save(figures.learning_curve(epochs), made / "learning.png")
        test_ann.main(["--model", str(ROOT / "models" / "ann.safetensors"), "--output", folder])
        pareto.main(["--output", str(made / "pareto.png")])
        for path in sorted(made.glob("*.png")):
            _shrink(path, OUTPUT / path.name)


def _shrink(source: Path, target: Path) -> None:
    """Write a picture `WIDTH` pixels wide, with 64 colours: a plot needs no more."""
    from PIL import Image

    with Image.open(source) as picture:
        height = round(picture.height * WIDTH / picture.width)
        small = picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
        small.quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    commandline.run(main)
