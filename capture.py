"""Collect digits that people draw, as a test set: asks for digits, records what is drawn.

    python capture.py --writer me                      # opens the window; goes on where it was left
    python capture.py --writer me --export pictures    # PNGs named LABEL_WRITER_NUMBER.png
    python capture.py --output group.npz --import captured/me.npz captured/you.npz pictures

Digits are asked for in a random order in which each comes equally often. Enter or Space saves a drawing, at
once: a crash loses at most the digit being drawn. The set is a file of recorded drawings (strokes, label,
writer, time, and the image that classifiers saw), which `test_*.py --drawn` reads. An imported picture has an
image and no strokes.
"""

from __future__ import annotations

import argparse
import io
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from classifier import ROOT, Classifier, InputError, write_safely
from toolkit import commandline
from toolkit.datasets import Drawings, load_drawings, read_picture, save_drawings, select
from toolkit.framing import frame_picture, frame_strokes

if TYPE_CHECKING:
    from digitpainter import Painter

FRAMED = (
    "digit-framed"  # PNG text of an exported picture: an image as classifiers see it, not to be framed again
)


class Recorder(Classifier):
    """A classifier without answers: it keeps what it is asked about, and saves it where it is told to.

    Parameters
    ----------
    path : the file of recorded drawings; it is made with the first drawing, and added to if it is there.
    writer : who draws.
    per_digit : how often each digit is asked for.
    rng : the order in which digits are asked for.

    Raises
    ------
    InputError : `path` is there and holds no recorded drawings.
    """

    kind = "recorder"
    name = "Recorder"

    def __init__(self, path: Path, writer: str, *, per_digit: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.path, self.writer, self.per_digit = path, writer, per_digit
        self.drawings = load_set(path)
        self.wanted: int | None = None  # the digit to draw next; None when all are done
        self._seen = np.zeros((28, 28), dtype=np.uint8)
        self._rng = rng
        self._written = _stamp(path)
        self._next()

    def probabilities(self, images: np.ndarray) -> None:
        """Keep the last image of a batch; there is no answer."""
        self._seen = images[-1].copy()

    def record(self, strokes: Sequence[np.ndarray]) -> None:
        """Save what was drawn, (k, 2) a stroke, with the image seen last, as the wanted digit.

        Raises OSError where the file cannot be written, and InputError where another program changed it: then
        nothing is recorded.
        """
        if self.wanted is None:
            return
        one = Drawings(
            strokes=[list(strokes)],
            labels=np.array([self.wanted]),
            writers=np.array([self.writer]),
            images=self._seen[None],
            times=np.array([int(time.time())]),
        )
        self._save(joined([self.drawings, one]))
        self._next()

    def redo(self) -> bool:
        """Drop the writer's last drawing and ask for its digit again; False where there is none."""
        own = np.flatnonzero(self._own())
        if not len(own):
            return False
        label = int(self.drawings.labels[own[-1]])
        self._save(select(self.drawings, np.arange(len(self.drawings)) != own[-1]))
        self.wanted = label
        return True

    def counts(self) -> np.ndarray:
        """How many of each digit the writer has drawn: int64 (10,)."""
        return np.bincount(self.drawings.labels[self._own()], minlength=10)

    def arrays(self) -> dict[str, np.ndarray]:
        raise NotImplementedError("a recorder is no model: it saves drawings.")

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        raise NotImplementedError("a recorder is no model: it saves drawings.")

    def _own(self) -> np.ndarray:
        drawn = np.array([bool(strokes) for strokes in self.drawings.strokes], dtype=bool)
        return drawn & (self.drawings.writers == self.writer)

    def _save(self, drawings: Drawings) -> None:
        if _stamp(self.path) != self._written:
            raise InputError(
                f"{self.path} was changed by another program; close this window and start again."
            )
        save_drawings(self.path, drawings)
        self.drawings, self._written = drawings, _stamp(self.path)

    def _next(self) -> None:
        # One of those drawn least often: a new random order each round, with nothing to remember.
        counts = self.counts()
        due = np.flatnonzero((counts == counts.min()) & (counts < self.per_digit))
        self.wanted = int(self._rng.choice(due)) if len(due) else None


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file does; None where there is none."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def load_set(path: Path) -> Drawings:
    """The drawings of a file that is to be added to; an empty set where there is no file yet.

    Raises InputError for another file, and for one that is divided into parts: a data set, not to be changed.
    """
    if not path.exists():
        return complete(Drawings([], np.zeros(0, dtype=np.int64), np.zeros(0, dtype=str)))
    drawings = load_drawings(path)
    if drawings.is_test is not None:
        raise InputError(f"{path} is divided into parts to choose and to report on; take another file.")
    return complete(drawings)


def complete(drawings: Drawings) -> Drawings:
    """The drawings with all that a captured set has: images, times (0: unknown), writers as text."""
    count, images = len(drawings), drawings.images
    if images is None:
        framed = [frame_strokes(strokes) for strokes in drawings.strokes]
        images = np.array(framed, dtype=np.uint8).reshape(count, 28, 28)
    times = np.zeros(count, dtype=np.int64) if drawings.times is None else drawings.times
    return replace(drawings, writers=drawings.writers.astype(str), is_test=None, images=images, times=times)


def load_pictures(folder: Path) -> Drawings:
    """The pictures of a folder, LABEL_WRITER_NUMBER.png or LABEL_anything.png: drawings without strokes."""
    from PIL import Image

    found = []
    for file in sorted(folder.iterdir()):
        if match := re.fullmatch(r"([0-9])_(.+?)(?:_\d+)?\.png", file.name, re.IGNORECASE):
            picture = read_picture(file)
            with Image.open(file) as opened:
                framed = opened.info.get(FRAMED) == "yes" and picture.shape == (28, 28)
            found.append((picture if framed else frame_picture(picture), int(match[1]), match[2]))
    if not found:
        raise InputError(f"{folder} holds no pictures named LABEL_anything.png, such as 7_me.png.")
    images, labels, writers = (np.array(column) for column in zip(*found, strict=True))
    return complete(Drawings([[] for _ in found], labels, writers, images=images))


def joined(sets: Sequence[Drawings]) -> Drawings:
    """The drawings of several complete sets, one after the other."""
    return Drawings(
        strokes=[strokes for drawings in sets for strokes in drawings.strokes],
        labels=np.concatenate([drawings.labels for drawings in sets]),
        writers=np.concatenate([drawings.writers for drawings in sets]),
        images=np.concatenate([drawings.images for drawings in sets if drawings.images is not None]),
        times=np.concatenate([drawings.times for drawings in sets if drawings.times is not None]),
    )


def import_sets(path: Path, sources: Sequence[Path]) -> tuple[int, int]:
    """Add the drawings of files and folders to a set; how many were new, and how many it has now.

    What the set has already (label, writer, and the same strokes or the same picture) is left out. Raises
    InputError for a source that holds no drawings; then nothing is added.
    """
    sets = [load_set(path)]
    sets += [
        load_pictures(source) if source.is_dir() else complete(load_drawings(source)) for source in sources
    ]
    together = joined(sets)
    assert together.images is not None
    known: set[tuple[object, ...]] = set()
    new = np.zeros(len(together), dtype=bool)
    for index, strokes in enumerate(together.strokes):
        who = int(together.labels[index]), str(together.writers[index])
        drawn = (*who, *(np.asarray(stroke, dtype=np.float64).tobytes() for stroke in strokes))
        seen = (*who, together.images[index].tobytes(), "picture")
        new[index] = index < len(sets[0]) or (drawn if strokes else seen) not in known
        known |= {drawn, seen}
    save_drawings(path, select(together, new))
    return int(new.sum()) - len(sets[0]), int(new.sum())


def export_pictures(drawings: Drawings, folder: Path) -> int:
    """Write each drawing's image as LABEL_WRITER_NUMBER.png, paper 0 and ink 255; returns how many."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    framed = PngInfo()
    framed.add_text(FRAMED, "yes")
    assert drawings.images is not None
    for number, image in enumerate(drawings.images, start=1):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png", pnginfo=framed)
        writer = re.sub(r"[^\w.-]", "_", str(drawings.writers[number - 1]))
        write_safely(folder / f"{drawings.labels[number - 1]}_{writer}_{number:04}.png", buffer.getvalue())
    return len(drawings)


def writer_name(text: str) -> str:
    """The argparse type of a writer's name, which names a file: letters, digits, - and _, and . within."""
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", text)
    if not re.fullmatch(r"\w(?:[\w.-]{0,62}[\w-])?", text) or reserved:
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot name a file; take letters, digits, - and _, at most 64 of them"
        )
    return text


def open_window(recorder: Recorder, *, dark: bool, scale: float | None) -> Painter:
    """The window that asks for the recorder's digits; the caller runs it."""
    from tkinter import ttk

    from digitpainter import Painter

    painter = Painter(f"Digits of {recorder.writer}", dark=dark, scale=scale)
    try:
        shown = str(recorder.path.resolve().relative_to(ROOT))
    except ValueError:
        shown = str(recorder.path)
    card = painter.register("Please draw", lambda: recorder, source=f"{recorder.writer}\n{shown}")

    def ask(note: str = "") -> None:
        counts = recorder.counts()
        done, total = int(np.minimum(counts, recorder.per_digit).sum()), 10 * recorder.per_digit
        bars = np.minimum(counts / recorder.per_digit, 1).tolist()
        card.rest(
            "✓" if recorder.wanted is None else str(recorder.wanted),
            note
            or (f"all {total} are done, thank you" if recorder.wanted is None else f"{done} of {total} done"),
            bars,
            [str(count) for count in counts],
        )

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except (InputError, OSError) as error:  # the drawing stays on the canvas
            return ask(f"not saved: {error}")
        painter.clear()
        ask()

    def confirm(event: object = None) -> None:
        painter.lift()
        if recorder.wanted is not None and painter.image.any():
            recorder.predict_proba(painter.image)  # its own thread may not have come to it yet
            attempt(lambda: recorder.record(painter.drawing.points()))

    def redo() -> None:
        attempt(recorder.redo)

    buttons = ttk.Frame(painter.side)
    buttons.grid(row=1, column=0, sticky="e", pady=(painter.look.px(14), 0), padx=painter.look.px(5))
    ttk.Button(buttons, text="Redo the last", command=redo).grid(row=0, column=0, padx=painter.look.px(8))
    ttk.Button(buttons, text="Save (Enter)", style="Accent.TButton", command=confirm).grid(row=0, column=1)
    for key in ("<Return>", "<KP_Enter>", "<space>"):
        painter.root.bind(key, confirm)
    # A button that has the keyboard's focus would take Space for itself.
    for widget in (*buttons.winfo_children(), *painter.tools.winfo_children()):
        if isinstance(widget, ttk.Button):
            widget.configure(takefocus=False)
    ask()
    return painter


def main(argv: list[str] | None = None) -> None:
    parser = commandline.Parser(__doc__)
    parser.add_argument("--writer", type=writer_name, metavar="NAME", help="who draws; also names the file")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the set (default: captured/NAME.npz)")
    parser.add_argument(
        "--per-digit",
        type=commandline.positive_int,
        default=10,
        metavar="N",
        help="how often each digit is asked for",
    )
    parser.add_argument(
        "--import",
        dest="sources",
        type=Path,
        nargs="+",
        metavar="SET",
        help="add folders of PNGs and .npz files to the set, and open no window",
    )
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="write the set as PNGs, and open no window"
    )
    parser.add_argument(
        "--seed", type=commandline.seed, help="of the order of digits (default: another one each time)"
    )
    parser.add_argument("--dark", action="store_true", help="light on dark")
    parser.add_argument(
        "--scale",
        type=float,
        metavar="FACTOR",
        help="how large the window is, 0.5 to 4 (default: what the screen asks for)",
    )
    arguments = parser.parse_args(argv)
    if arguments.output is None and arguments.writer is None:
        parser.error("say who draws with --writer NAME, or which set with --output FILE")
    path = arguments.output or Path("captured") / f"{arguments.writer}.npz"
    if arguments.sources:
        new, count = import_sets(path, arguments.sources)
        print(f"{new} new drawings; {path} holds {count}.")
    if arguments.export:
        count = export_pictures(complete(load_drawings(path)), arguments.export)
        print(f"{count} pictures are in {arguments.export}.")
    if arguments.sources or arguments.export:
        return
    if arguments.writer is None:
        parser.error("say who draws with --writer NAME")
    recorder = Recorder(
        path, arguments.writer, per_digit=arguments.per_digit, rng=np.random.default_rng(arguments.seed)
    )
    open_window(recorder, dark=arguments.dark, scale=arguments.scale).run()
    print(f"{int(recorder.counts().sum())} drawings of {recorder.writer} are in {path}.")


if __name__ == "__main__":
    commandline.run(main)
