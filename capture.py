"""Collect digits that people draw, as a test set.

    python capture.py --writer me                      # open the window; continue where you left off
    python capture.py --writer me --export pictures    # write PNGs named LABEL_WRITER_NUMBER.png
    python capture.py --output group.npz --import captured/me.npz captured/you.npz pictures

The window asks for digits in random order, each equally often. Enter or Space saves a drawing at once, so a
crash loses at most the digit being drawn. The set is a file of recorded drawings: strokes, label, writer,
time, and the image that classifiers saw. `test_*.py --drawn` reads it. An imported picture has an image and
no strokes.
"""

from __future__ import annotations

import argparse
import io
import re
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier import InputError, write_safely
from toolkit import commandline, painting
from toolkit.drawings import (
    FRAMED,
    Drawings,
    add,
    complete,
    joined,
    load_drawings,
    load_pictures,
    load_set,
    locked,
    save_drawings,
    select,
)
from toolkit.files import check_writable
from toolkit.framing import frame_strokes
from toolkit.report.texts import Texts

import numpy as np

if TYPE_CHECKING:
    from tkinter import ttk

    from digitpainter import Painter


class Recorder:
    """Records drawings in a file. In the window it stands beside classifiers, as one that has no answer.

    Other programs may add to the file meanwhile: each change reads it, changes it and writes it under a lock.

    Parameters
    ----------
    path : the file of recorded drawings; made with the first drawing if it is not there.
    writer : who draws.
    per_digit : how often each digit is asked for.
    rng : chooses the order in which digits are asked for.

    Attributes
    ----------
    drawings : what the file held after the last change.
    wanted : the digit to draw next, or None when all are done.

    Raises
    ------
    InputError : the file exists and holds no recorded drawings.
    """

    def __init__(self, path: Path, writer: str, *, per_digit: int, rng: np.random.Generator) -> None:
        self.path, self.writer, self.per_digit = path, writer, per_digit
        self.metrics: dict[str, Any] = {}
        self.drawings = load_set(path)
        self.wanted: int | None = None
        self._rng = rng
        self._ask_next()

    def predict_proba(self, images: np.ndarray) -> None:
        """Give no answer."""

    def record(self, strokes: Sequence[np.ndarray]) -> None:
        """Save strokes, (k, 2) each, as the wanted digit, and ask for the next one.

        Raises OSError or InputError if the file cannot be read or written. Then nothing is recorded.
        """
        if self.wanted is None:
            return
        one = Drawings(
            strokes=[list(strokes)],
            labels=np.array([self.wanted]),
            writers=np.array([self.writer]),
            images=frame_strokes(strokes)[None],
            times=np.array([int(time.time())]),
        )
        self.drawings = add(self.path, one)
        self._ask_next()

    def redo(self) -> bool:
        """Drop the writer's last drawing and ask for its digit again. Return False if there is none."""
        with locked(self.path):
            drawings = load_set(self.path)
            own = self._own(drawings)
            if not len(own):
                return False
            kept = select(drawings, np.arange(len(drawings)) != own[-1])
            save_drawings(self.path, kept)
        self.drawings, self.wanted = kept, int(drawings.labels[own[-1]])
        return True

    def counts(self) -> np.ndarray:
        """Return how many of each digit the writer has drawn, int64 (10,)."""
        return np.bincount(self.drawings.labels[self._own(self.drawings)], minlength=10)

    def _own(self, drawings: Drawings) -> np.ndarray:
        """Return the numbers of the writer's drawings, without imported pictures."""
        own = np.flatnonzero(drawings.writers == self.writer)
        return np.array([number for number in own if drawings.strokes[number]], dtype=np.int64)

    def _ask_next(self) -> None:
        # Any digit drawn least often: a new random order each round, and nothing to remember until next time.
        counts = self.counts()
        due = np.flatnonzero((counts == counts.min()) & (counts < self.per_digit))
        self.wanted = int(self._rng.choice(due)) if len(due) else None


def import_sets(path: Path, sources: Sequence[Path]) -> tuple[int, int]:
    """Add the drawings of files and folders to a set. Return how many were new, and how many it holds now.

    A drawing is left out if the set has it already: the same label, writer and strokes, or, for a picture
    without strokes, the same image.
    Raises InputError if a source holds no drawings. Then nothing is added.
    """
    load_set(path)  # refuses a file of another kind before any work
    # Framing pictures takes long: another program may add to the set until all of them are ready.
    added = [
        complete(load_pictures(source) if source.is_dir() else load_drawings(source)) for source in sources
    ]
    with locked(path):
        before = load_set(path)
        together = joined([before, *added])
        assert together.images is not None
        known: set[tuple[object, ...]] = set()
        taken = np.arange(len(together)) < len(before)
        for number, (strokes, image) in enumerate(zip(together.strokes, together.images, strict=True)):
            who = int(together.labels[number]), str(together.writers[number])
            drawn = (*who, *(np.asarray(stroke, float).tobytes() for stroke in strokes))
            seen = (*who, image.tobytes())
            taken[number] |= (drawn if strokes else seen) not in known
            known |= {drawn, seen}
        save_drawings(path, select(together, taken))
    return int(taken.sum()) - len(before), int(taken.sum())


def export_pictures(drawings: Drawings, folder: Path) -> int:
    """Write each drawing's image as LABEL_WRITER_NUMBER.png, paper 0 and ink 255. Return how many."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    framed = PngInfo()
    framed.add_text(FRAMED, "yes")
    assert drawings.images is not None
    for number, image in enumerate(drawings.images, start=1):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png", pnginfo=framed)
        writer = re.sub(r"[^\w .'-]", "_", str(drawings.writers[number - 1]))
        write_safely(folder / f"{drawings.labels[number - 1]}_{writer}_{number:04}.png", buffer.getvalue())
    return len(drawings)


def writer_name(text: str) -> str:
    """Check a writer's name, which also names a file; the type of an argument.

    It has letters, digits, spaces, `-`, `_`, dots and apostrophes, a letter or a digit first, and no dot or
    space last. An accent and its letter become one character.
    """
    name = unicodedata.normalize("NFC", text)
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    if not re.fullmatch(r"\w(?:[\w .'-]{0,62}[\w'-])?", name) or reserved:
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot name a file; take letters, digits, spaces, - and _, at most 64 of them"
        )
    return name


def open_window(recorder: Recorder, options: dict[str, Any]) -> Painter:
    """Build the window that asks for the recorder's digits; the caller runs it.

    `options` are the keyword arguments of `Painter`.
    """
    from digitpainter import CONTROL, Painter

    painter = Painter(**options)
    say = painter.texts.say
    painter.root.title(say("capture_title", writer=recorder.writer))
    card = painter.register(say("please"), lambda: recorder, source=f"{recorder.writer}\n{recorder.path}")

    def ask(failure: str = "") -> None:
        counts = recorder.counts()
        done, total = int(np.minimum(counts, recorder.per_digit).sum()), 10 * recorder.per_digit
        finished = recorder.wanted is None
        note = say("progress", done=done, total=total)
        if finished:
            note = f"{say('next')}\n{next_command(recorder.path)}"
        card.name = say("complete", total=total) if finished else say("please")
        note = failure or note
        bars = np.minimum(counts / recorder.per_digit, 1).tolist()
        card.rest("✓" if finished else str(recorder.wanted), note, bars, [str(count) for count in counts])
        save.state(["disabled" if finished else "!disabled"])

    def attempt(action: Callable[[], object]) -> None:
        painter.say("")
        try:
            done = action()
        except (InputError, OSError) as error:  # the drawing stays on the canvas
            return ask(say("not_saved", error=error))
        if done is False:
            return painter.say(say("nothing_to_redo"))
        painter.clear()
        ask()

    def confirm() -> None:
        painter.lift()
        if recorder.wanted is not None and painter.image.any():
            attempt(lambda: recorder.record(painter.drawing.points()))
        elif recorder.wanted is not None:
            painter.say(say("empty"))

    def redo() -> None:
        attempt(recorder.redo)

    save = _add_buttons(painter, redo=redo, confirm=confirm)
    enter = f"{say('enter')}, {say('space')}"
    painter.add_key(enter, say("key_save"), ["<Return>", "<KP_Enter>", "<space>"], confirm)
    painter.add_key(f"{CONTROL}R", say("key_redo"), ["<Control-r>", "<Control-R>", "<Command-r>"], redo)
    painter.canvas.bind("<ButtonPress-1>", lambda event: painter.say(""), add=True)
    ask()
    return painter


def next_command(path: Path) -> str:
    """Return what to type to test a classifier on a set."""
    shown = commandline.shown(path)
    return f"python test_ann.py --drawn {quoted(shown)}"


def quoted(word: str) -> str:
    """Quote a word for the shell, of this system or of any other, if it needs that."""
    return word if re.fullmatch(r"[\w./\\:-]+", word) else f'"{word}"'


def _add_buttons(painter: Painter, *, redo: Callable[[], None], confirm: Callable[[], None]) -> ttk.Button:
    """Add the buttons below the card; return the one that saves."""
    from tkinter import ttk

    px, say = painter.look.px, painter.texts.say
    buttons = ttk.Frame(painter.side)
    buttons.grid(row=1, column=0, sticky="e", pady=(px(14), 0), padx=px(5))
    redoing = ttk.Button(buttons, text=say("redo"), command=redo)
    redoing.grid(row=0, column=0, padx=px(8))
    save = ttk.Button(buttons, text=say("save"), style="Accent.TButton", command=confirm)
    save.grid(row=0, column=1)
    # A button with the keyboard's focus would take Space for itself.
    for button in (*painter.buttons, redoing, save):
        button.configure(takefocus=False)
    return save


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
        "--seed", type=commandline.seed, help="of the order of digits (default: a new one each time)"
    )
    painting.add_flags(parser)
    arguments = parser.parse_args(argv)
    if arguments.output is None and arguments.writer is None:
        parser.error("say who draws with --writer NAME, or which set with --output FILE")
    path = arguments.output or Path("captured") / f"{arguments.writer}.npz"
    if arguments.sources or not arguments.export:
        check_writable(path)
    if arguments.export:
        check_writable(arguments.export / "0_0001.png")
    say = Texts(arguments.lang, painting.TEXTS).say
    if arguments.sources:
        new, count = import_sets(path, arguments.sources)
        print(say("imported", new=new, path=path, count=count))
    if arguments.export:
        count = export_pictures(complete(load_drawings(path)), arguments.export)
        print(say("exported", count=count, folder=arguments.export))
    if arguments.sources or arguments.export:
        return
    if arguments.writer is None:
        parser.error("say who draws with --writer NAME")
    recorder = Recorder(
        path, arguments.writer, per_digit=arguments.per_digit, rng=np.random.default_rng(arguments.seed)
    )
    open_window(recorder, painting.options(arguments)).run()
    print(say("recorded", count=int(recorder.counts().sum()), writer=recorder.writer, path=path))
    if recorder.wanted is None:
        print(say("next"), next_command(path))


if __name__ == "__main__":
    commandline.run(main)
