"""The real window with real events: drawing, answers, keys, resizing, broken models, random events.

Every wait has a condition. Its deadline only ends a test that has failed.
"""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import threading
import time

import capture
from classifier import ROOT, ModelFileError
from toolkit.drawings import load_drawings
from toolkit.painting import BOX, Model

import numpy as np
import pytest
from fakes import DEADLINE, Fake

tk = pytest.importorskip("tkinter", reason="this Python has no tkinter")
from digitpainter import PEN_WIDTHS, Painter  # noqa: E402

pytestmark = pytest.mark.screen


@pytest.fixture(scope="module", autouse=True)
def _needs_a_display():
    try:
        tk.Tk().destroy()
    except tk.TclError as error:
        pytest.skip(f"needs a display: {error}")


class Window:
    """A painter driven by events. An exception in any callback fails the test."""

    def __init__(self, painter: Painter) -> None:
        self.painter, self.root, self.canvas = painter, painter.root, painter.canvas
        self.errors: list[BaseException] = []
        self.root.report_callback_exception = lambda kind, error, trace: self.errors.append(error)
        self.root.update()
        self.until(lambda: not painter.waiting)

    def until(self, done) -> None:
        end = time.monotonic() + DEADLINE
        while not done():
            assert time.monotonic() < end, "it did not happen in time"
            self.root.update()
            time.sleep(0.001)
        self.root.update()
        assert not self.errors, self.errors

    def draw(self, *points: tuple[float, float], lift: bool = True) -> None:
        """Draw a stroke through points given as fractions of the canvas."""
        side = self.canvas.winfo_width()
        for index, (x, y) in enumerate(points):
            event = "<B1-Motion>" if index else "<ButtonPress-1>"
            self.canvas.event_generate(event, x=round(x * side), y=round(y * side))
        if lift:
            x, y = points[-1]
            self.canvas.event_generate("<ButtonRelease-1>", x=round(x * side), y=round(y * side))
        self.root.update()

    def answered(self) -> None:
        self.until(lambda: not self.painter.waiting)

    def click(self, widget, x: int = 9, y: int = 9) -> None:
        for event in ("<Enter>", "<ButtonPress-1>", "<ButtonRelease-1>"):
            widget.event_generate(event, x=x, y=y)
            self.root.update()

    def key(self, name: str) -> None:
        self.canvas.focus_force()
        self.root.update()
        self.canvas.event_generate(name)
        self.root.update()


@pytest.fixture
def open_window():
    windows: list[Window] = []

    def opened(*loads, **options) -> tuple[Window, list]:
        painter = Painter(**options)
        cards = [
            painter.register(
                f"Model {n}", load, source="your model\ntrained/x.safetensors", command="python train_x.py"
            )
            for n, load in enumerate(loads)
        ]
        windows.append(Window(painter))
        return windows[-1], cards

    yield opened
    for window in windows:
        window.painter.close()
        for worker in window.painter.workers:
            worker.join(DEADLINE)
        assert not window.errors, window.errors
    windows.clear()
    # A Tk interpreter must die in its own thread, not in that of the next test's worker.
    gc.collect()


ONE = (0.5, 0.2), (0.5, 0.5), (0.5, 0.8)
DASH = (0.2, 0.5), (0.5, 0.5), (0.8, 0.5)


def texts(card) -> str:
    items = [item for item in card.find_all() if card.type(item) == "text"]
    return "\n".join(card.itemcget(item, "text") for item in items)


def test_drawing_gives_every_classifiers_answer_without_a_button(open_window):
    window, cards = open_window(Fake, Fake, lambda: Fake(sure=0.5))
    window.draw(*ONE)
    window.answered()
    assert [card.digit for card in cards] == ["1", "1", "1"]
    assert [card.note for card in cards] == ["90.0\u00a0%", "90.0\u00a0%", "50.0\u00a0%"]
    assert cards[0].bars[1] == pytest.approx(0.9)
    assert "90.0\u00a0%" in texts(cards[0])
    window.key("<Escape>")
    window.draw(*DASH)
    window.answered()
    assert [card.digit for card in cards] == ["0", "0", "0"]


def test_answers_follow_the_pen(open_window):
    fake = Fake()
    window, (card,) = open_window(lambda: fake)
    asked = len(fake.seen)
    assert card.digit == ""
    window.draw(*ONE, lift=False)
    window.until(lambda: card.digit == "1")
    window.answered()
    assert np.array_equal(fake.seen[-1], window.painter.drawing.image())
    side, shown = window.canvas.winfo_width(), len(fake.seen)
    for x in (0.6, 0.8, 0.95):
        window.canvas.event_generate("<B1-Motion>", x=round(x * side), y=round(0.8 * side))
    window.until(lambda: len(fake.seen) > shown)
    window.answered()
    assert np.array_equal(fake.seen[-1], window.painter.drawing.image())
    seen = len(fake.seen)
    window.canvas.event_generate("<ButtonRelease-1>", x=round(0.95 * side), y=round(0.8 * side))
    assert not window.painter.waiting, "the drawing is the same as before the pen was lifted"
    window.key("<Escape>")
    assert not window.painter.waiting
    assert card.digit == ""
    assert not any(card.bars)
    window.root.update()
    assert len(fake.seen) == seen > asked, "blank paper is shown to nobody"


def test_many_events_are_few_questions(open_window):
    fake = Fake()
    window, (card,) = open_window(lambda: fake)
    asked = len(fake.seen)
    side = window.canvas.winfo_width()
    start = time.perf_counter()
    window.canvas.event_generate("<ButtonPress-1>", x=50, y=50)
    for step in range(2000):
        window.canvas.event_generate("<B1-Motion>", x=50 + step % (side - 100), y=50 + step % 97)
        if step % 20 == 0:
            window.root.update()
    window.canvas.event_generate("<ButtonRelease-1>", x=200, y=300)
    window.answered()
    frames = (time.perf_counter() - start) * 30
    assert len(window.painter.drawing.strokes[0]) > 1900, "every event is a point"
    assert 1 < len(fake.seen) - asked <= frames + 2
    assert np.array_equal(fake.seen[-1], window.painter.drawing.image())
    assert card.digit != ""


def test_the_ink_is_the_same_however_it_was_drawn(open_window):
    window, _ = open_window(Fake)
    canvas, side = window.canvas, window.canvas.winfo_width()
    for stroke in (ONE, DASH):
        for index, (x, y) in enumerate(stroke):
            event = "<B1-Motion>" if index else "<ButtonPress-1>"
            canvas.event_generate(event, x=round(x * side), y=round(y * side))
            end = time.perf_counter() + 0.02
            window.until(lambda end=end: time.perf_counter() > end)
        assert canvas.ink.coverage.any()
        canvas.event_generate("<ButtonRelease-1>", x=round(x * side), y=round(y * side))
    drawn = canvas.ink.coverage.copy()
    canvas._redraw()
    assert np.array_equal(canvas.ink.coverage, drawn)
    x, y = (round(length * side) for length in ONE[1])
    assert canvas._picture.get(x, y)[0] == int(window.painter.look.colour["ink"][1:3], 16)
    assert canvas._picture.get(2, 2)[0] == int(window.painter.look.colour["paper"][1:3], 16)


def test_the_small_picture_is_what_classifiers_see(open_window):
    fake = Fake()
    window, _ = open_window(lambda: fake)
    window.draw(*ONE)
    window.answered()
    zoom = window.painter.picture.width() // 28
    shown = [[255 - window.painter.picture.get(x * zoom, y * zoom)[0] for x in range(28)] for y in range(28)]
    assert np.array_equal(shown, fake.seen[-1])
    assert fake.seen[-1].any()


def test_a_click_is_a_dot(open_window):
    window, (card,) = open_window(Fake)
    window.draw((0.5, 0.5))
    window.answered()
    assert card.digit != ""
    rows, columns = (window.canvas.ink.coverage.any(axis=axis).sum() for axis in (0, 1))
    assert rows == columns == pytest.approx(28 / BOX * window.canvas.side, abs=2)


def test_undo_takes_back_a_stroke(open_window):
    window, (card,) = open_window(Fake)
    window.draw(*DASH)
    window.draw(*ONE)
    window.draw((0.5, 0.1), (0.5, 0.9))
    window.answered()
    assert card.digit == "1" or len(window.painter.drawing.strokes) == 3
    window.key("<Control-z>")
    window.key("<Control-z>")
    window.answered()
    assert len(window.painter.drawing.strokes) == 1
    assert card.digit == "0"
    window.key("<Control-z>")
    window.key("<Control-z>")
    window.answered()
    assert card.digit == ""
    assert not window.canvas.ink.coverage.any()


def test_undo_while_the_pen_is_down(open_window):
    window, (card,) = open_window(Fake)
    window.draw(*DASH)
    window.draw(*ONE, lift=False)
    window.key("<Control-z>")
    window.canvas.event_generate("<B1-Motion>", x=9, y=9)
    window.canvas.event_generate("<ButtonRelease-1>", x=9, y=9)
    window.answered()
    assert len(window.painter.drawing.strokes) == 1
    assert card.digit == "0"


def test_the_buttons_do_what_the_keys_do(open_window):
    window, _ = open_window(Fake)
    buttons = {button.cget("text"): button for button in window.painter.buttons}
    window.draw(*DASH)
    window.draw(*ONE)
    window.click(buttons["Undo"])
    assert len(window.painter.drawing.strokes) == 1
    window.draw(*ONE)
    window.click(buttons["Clear"])
    assert window.painter.drawing.strokes == []


def test_resizing_keeps_what_was_drawn(open_window):
    window, (card,) = open_window(Fake)
    window.draw(*ONE)
    window.answered()
    before = [list(stroke) for stroke in window.painter.drawing.strokes]
    asked, side = window.painter.image.copy(), window.canvas.winfo_width()
    ink = extent(window.canvas)
    window.root.geometry("800x520")
    window.until(lambda: window.canvas.winfo_width() < side)
    window.until(lambda: window.canvas.ink.side == window.canvas.winfo_width() - 2)
    factor = window.canvas.winfo_width() / side
    assert factor < 0.9
    assert window.painter.drawing.strokes == before
    assert np.allclose(extent(window.canvas), ink * factor, atol=2)
    assert np.array_equal(window.painter.drawing.image(), asked)
    assert card.digit == "1"
    assert card.winfo_width() < 400
    window.draw((0.2, 0.5), (0.8, 0.5))
    window.answered()
    (x0, _), (_, y1) = window.painter.drawing.strokes[-1]
    assert x0 / BOX == pytest.approx(0.2, abs=0.01)
    assert y1 / BOX == pytest.approx(0.5, abs=0.01)


def extent(canvas) -> np.ndarray:
    """Return the ink's left, right, top and bottom, in pixels."""
    sides = (np.flatnonzero(canvas.ink.coverage.any(axis=axis)) for axis in (0, 1))
    return np.array([end for side in sides for end in (side[0], side[-1] + 1)])


def test_the_wheel_and_the_slider_set_the_pens_width(open_window):
    window, _ = open_window(Fake)
    painter = window.painter
    first = painter.canvas.pen_width
    window.canvas.event_generate("<Button-4>", x=5, y=5)
    assert painter.canvas.pen_width > first
    assert float(painter.slider.get()) == painter.canvas.pen_width
    for _ in range(100):
        window.canvas.event_generate("<Button-5>", x=5, y=5)
    assert painter.canvas.pen_width == PEN_WIDTHS[0]
    painter.slider.set(50)
    window.root.update()
    assert painter.canvas.pen_width == 50
    window.draw(*ONE)
    painter.slider.set(20)
    window.draw(*DASH)
    assert painter.drawing.widths == [50, 20], "each stroke keeps its pen"


def test_an_unsure_answer_has_a_question_mark(open_window):
    window, cards = open_window(
        lambda: Fake(sure=0.6, unsure_below=0.8),
        lambda: Fake(sure=0.9, unsure_below=0.8),
        lambda: Fake(sure=0.3),
    )
    window.draw(*ONE)
    window.answered()
    assert [card.unsure for card in cards] == [True, False, False]
    assert ["?" in texts(card).splitlines() for card in cards] == [True, False, False]


class FakeDetector:
    """Takes what is taller than wide for a digit."""

    def digit_probability(self, image):
        return float(np.count_nonzero(image.any(axis=1)) > np.count_nonzero(image.any(axis=0)))


def test_what_is_no_digit_is_said_once_the_pen_is_up(open_window):
    window, (card,) = open_window(Fake)
    window.painter.judge(FakeDetector)
    window.answered()
    said = lambda: window.painter._remark.cget("text")  # noqa: E731
    window.draw(*DASH, lift=False)
    window.answered()
    assert said() == ""
    window.canvas.event_generate("<ButtonRelease-1>", x=1, y=1)
    window.until(lambda: said() == "not a digit?")
    assert card.digit == "0"  # the answers stay
    window.key("<Escape>")
    window.until(lambda: said() == "")
    window.draw(*ONE)
    window.answered()
    assert said() == ""


@pytest.mark.parametrize("load", [lambda: None, lambda: 1 / 0])
def test_without_a_detector_nothing_is_said(open_window, load):
    window, (card,) = open_window(Fake)
    window.painter.judge(load)
    window.draw(*DASH)
    window.answered()
    assert card.digit == "0"
    assert window.painter._remark.cget("text") == ""


def test_a_missing_or_broken_model_greys_its_card_and_leaves_the_others(open_window):
    def missing():
        raise ModelFileError("there is no model file trained/x.safetensors.")

    def broken():
        return 1 / 0

    def no_library():
        import a_library_that_is_not_there  # noqa: F401

    window, cards = open_window(missing, broken, no_library, Fake)
    window.draw(*ONE)
    window.answered()
    assert [card.state for card in cards] == ["failed", "failed", "failed", "ready"]
    assert "There is no model file" in texts(cards[0])
    assert "python train_x.py" in texts(cards[0])
    assert "ZeroDivisionError" in texts(cards[1])
    assert "a_library_that_is_not_there is not installed" in texts(cards[2])
    assert cards[3].digit == "1"


def test_a_classifier_that_fails_once_answers_the_next_drawing(open_window):
    fake = Fake()
    answer = fake.predict_proba
    window, (card,) = open_window(lambda: fake)
    fake.predict_proba = lambda images: 1 / 0
    window.draw(*ONE)
    window.answered()
    assert card.state == "failed"
    fake.predict_proba = answer
    window.draw(*ONE)
    window.answered()
    assert card.state == "ready"
    assert card.digit == "1"


def test_an_answer_to_an_older_drawing_is_dropped(open_window):
    gate = threading.Event()
    slow, fast = Fake(gate=gate), Fake()
    window, (slow_card, fast_card) = open_window(lambda: slow, lambda: fast)
    window.draw(*ONE)
    window.until(lambda: fast_card.digit == "1")
    window.until(lambda: "thinking …" in texts(slow_card))
    assert slow_card.digit == ""
    shown = []
    original = slow_card.answer
    slow_card.answer = lambda *answer: (shown.append(int(answer[0].argmax())), original(*answer))
    window.key("<Escape>")
    window.draw(*DASH)
    window.until(lambda: fast_card.digit == "0")
    gate.set()
    window.answered()
    assert shown == [0], "the 1 was drawn before"
    assert slow_card.digit == "0"


def test_an_answer_that_comes_after_clearing_is_not_shown(open_window):
    gate = threading.Event()
    window, (card,) = open_window(lambda: Fake(gate=gate))
    window.draw(*ONE)
    window.key("<Escape>")
    shown = []
    original = card.answer
    card.answer = lambda *answer: (shown.append(int(answer[0].argmax())), original(*answer))
    gate.set()
    window.until(lambda: not window.painter._answers.empty())
    assert card.digit == ""
    window.draw(*DASH)
    window.answered()
    assert shown == [0]


def test_drawing_works_while_models_are_loading(open_window):
    gate = threading.Event()

    def load():
        gate.wait(DEADLINE)
        return Fake()

    painter = Painter()
    try:
        card = painter.register("Slow", load)
        painter.root.update()
        for event, y in (("<ButtonPress-1>", 50), ("<B1-Motion>", 300), ("<ButtonRelease-1>", 300)):
            painter.canvas.event_generate(event, x=100, y=y)
        painter.root.update()
        assert card.state == "loading"
        gate.set()
        end = time.monotonic() + DEADLINE
        while card.digit != "1":
            painter.root.update()
            assert time.monotonic() < end
        assert not painter.waiting
    finally:
        painter.close()
        for worker in painter.workers:
            worker.join(DEADLINE)
        del painter
        gc.collect()


def test_models_are_loaded_in_turn_and_the_first_answers_meanwhile(open_window):
    gate, loaded = threading.Event(), []

    def load(name):
        loaded.append(name)
        if name == "slow":
            gate.wait(DEADLINE)
        return Fake()

    window, _ = open_window(lambda: load("quick"), lambda: 1 / 0)
    painter = window.painter
    quick = next(iter(painter.workers.values()))
    slow = painter.register("Slow", lambda: load("slow"))
    window.draw(*ONE)
    window.until(lambda: quick.digit == "1" and loaded == ["quick", "slow"])
    assert slow.state == "loading"
    gate.set()
    window.answered()
    assert slow.digit == "1"


def test_a_slow_classifier_does_not_hold_up_the_pen(open_window):
    enough = threading.Event()

    def busy(images):
        end = time.monotonic() + DEADLINE
        while not enough.is_set() and time.monotonic() < end:  # Python that never waits
            pass
        return np.full(10, 0.1, dtype=np.float32)

    fake = Fake()
    window, _ = open_window(lambda: fake)
    fake.predict_proba = busy
    window.draw(*ONE)
    for step in range(100):
        event = "<B1-Motion>" if step else "<ButtonPress-1>"
        window.canvas.event_generate(event, x=100 + step, y=100)
        window.root.update()
    assert window.painter.waiting, "the classifier is still computing"
    assert len(window.painter.drawing.strokes[-1]) == 100
    window.canvas.event_generate("<ButtonRelease-1>", x=300, y=100)
    enough.set()
    window.answered()


def test_each_card_says_how_good_its_model_is(open_window):
    def rated(**metrics):
        fake = Fake()
        fake.metrics |= metrics
        return lambda: fake

    _, cards = open_window(
        rated(tested={"mnist": 0.9972, "drawings": 0.988, "else": 1}, accuracy=0.5),
        rated(accuracy=0.91),
        Fake,
    )
    assert "MNIST 99.72\u00a0%\ndrawn 98.80\u00a0%" in texts(cards[0])
    assert "validation 91.00\u00a0%" in texts(cards[1])
    assert "50" not in texts(cards[0])
    assert "%" not in texts(cards[2])


def test_another_model_can_be_chosen(open_window):
    window, _ = open_window(Fake)
    gate = threading.Event()
    models = [
        Model("trained/x", "your model", lambda: Fake(gate=gate)),
        Model("models/x", "shipped model", lambda: Fake(sure=0.7)),
    ]
    painter = window.painter
    card = painter.register("Two", models[0].load, source=models[0].source, models=models)
    window.answered()
    window.draw(*ONE)
    window.until(lambda: len(painter.waiting) == 1)
    window.key("<Control-Key-2>")
    card._menu.invoke(1)
    card._menu.unpost()
    window.answered()
    assert card.digit == "1"
    assert card.note == "70.0\u00a0%"
    assert "shipped model ▾" in texts(card)
    gate.set()
    window.until(lambda: not painter._answers.empty())
    window.draw(*DASH)
    window.answered()
    assert card.note == "70.0\u00a0%", "the other model's answer came too late"


def test_keys_are_listed_and_set_the_pen(open_window):
    window, _ = open_window(Fake, language="es")
    painter = window.painter
    width = painter.canvas.pen_width
    window.key("<plus>")
    assert painter.canvas.pen_width > width
    window.key("<minus>")
    window.key("<minus>")
    assert painter.canvas.pen_width < width
    window.key("<F1>")
    (listed,) = (widget for widget in painter.root.winfo_children() if widget.winfo_class() == "Toplevel")
    labels = [label.cget("text") for label in listed.winfo_children()[0].winfo_children()]
    assert "Ctrl+Z" in labels
    assert "quitar el último trazo" in labels
    listed.focus_force()
    window.root.update()
    listed.event_generate("<Escape>")
    window.root.update()
    assert not listed.winfo_exists()


def test_the_focus_goes_around_and_a_hint_is_shown(open_window):
    window, _ = open_window(Fake)
    buttons, root = window.painter.buttons, window.root
    root.focus_force()
    root.update()
    root.event_generate("<Tab>")
    window.until(lambda: root.focus_get() is buttons[0])
    window.until(
        lambda: any("Ctrl+Z" in widget.winfo_children()[0].cget("text") for widget in toplevels(root))
    )
    buttons[0].event_generate("<Tab>")
    window.until(lambda: root.focus_get() is buttons[1])
    assert not toplevels(root)


def toplevels(root) -> list:
    return [widget for widget in root.winfo_children() if widget.winfo_class() == "Toplevel"]


def test_polling_stops_when_nothing_is_due(open_window):
    window, _ = open_window(Fake)
    window.draw(*ONE)
    window.answered()
    window.until(lambda: not window.painter._polling)


def test_ten_thousand_random_events(open_window, softmax_model):
    window, _ = open_window(lambda: softmax_model, Fake, lambda: 1 / 0)
    rng = random.Random(3)
    side = window.canvas.winfo_width()
    keys = ("<Control-z>", "<Escape>", "<Key-a>", "<w>", "<Return>", "<space>")
    pointer = ("<ButtonPress-1>", "<B1-Motion>", "<ButtonRelease-1>", "<Motion>", "<Button-4>", "<Button-5>")
    pointer += ("<ButtonPress-3>", "<ButtonRelease-3>", "<Leave>", "<Enter>")
    weights = (4, 60, 4, 5, 2, 2, 1, 1, 1, 1)
    window.canvas.focus_force()
    x = y = side // 2
    for number in range(10_000):
        if rng.random() < 0.02:
            window.canvas.event_generate(rng.choice(keys))
        else:
            if rng.random() < 0.02:
                x, y = (rng.randint(-side, 2 * side) for _ in "xy")
            x, y = x + rng.randint(-30, 30), y + rng.randint(-30, 30)
            window.canvas.event_generate(rng.choices(pointer, weights)[0], x=x, y=y)
        if rng.random() < 0.002:
            window.root.geometry(f"{rng.randint(1, 1500)}x{rng.randint(1, 900)}")
        if number % 50 == 0:
            window.root.update()
        assert not window.errors, window.errors
    window.key("<Escape>")
    window.draw(*ONE)
    window.answered()


def test_a_very_long_stroke(open_window):
    window, (card,) = open_window(Fake)
    angle = np.linspace(0, 100, 4_000)
    radius = np.linspace(0.05, 0.45, 4_000)
    window.draw(*zip(0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle), strict=True))
    window.answered()
    assert card.digit != ""
    assert len(window.painter.drawing.strokes[0]) > 1_000


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("dark", [False, True])
def test_every_size_and_theme_can_be_drawn(open_window, scale, dark):
    window, (card, _) = open_window(Fake, lambda: 1 / 0, dark=dark, scale=scale)
    window.draw(*ONE)
    window.answered()
    assert card.digit == "1"
    assert int(card.look.font(14).cget("size")) == -14 * scale
    root = window.root
    for wanted in ((400, 300), (1300, 700)):
        root.geometry(f"{wanted[0]}x{wanted[1]}")
        size = tuple(map(max, wanted, root.minsize()))
        window.until(lambda size=size: (root.winfo_width(), root.winfo_height()) == size)


def test_nothing_of_a_closed_window_runs_on(open_window):
    gate = threading.Event()
    window, _ = open_window(lambda: Fake(gate=gate))
    window.draw(*ONE)
    window.painter.close()
    window.painter.close()
    gate.set()
    for worker in window.painter.workers:
        worker.join(DEADLINE)
        assert not worker.is_alive()


PROBE = """
import os, runpy, sys, tkinter
sys.argv = sys.argv[1:]; sys.path.insert(0, os.path.dirname(sys.argv[0]))
init = tkinter.Tk.__init__
def opened(self, *a, **k):
    init(self, *a, **k)
    heavy = lambda: [name for name in ('torch', 'sklearn') if name in sys.modules]
    say = lambda event: event.widget is self and print('open', *heavy(), flush=True)
    self.bind('<Map>', say)
tkinter.Tk.__init__ = opened
class Say:
    def find_spec(self, name, path=None, target=None):
        if name == 'scipy':
            print('scipy', flush=True)
sys.meta_path.insert(0, Say())
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.parametrize("moment", ["open", "scipy"])
def test_predict_opens_before_any_model_is_loaded_and_ends_on_ctrl_c(moment):
    """Ctrl-C comes when the window opens, or while a thread imports a library."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROBE, str(ROOT / "predict.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            if moment == "scipy":
                assert process.stdout.readline() == "scipy\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=DEADLINE)
            assert errors == "Interrupted.\n"
            assert process.returncode == 130
        finally:
            process.kill()


# Capturing


@pytest.fixture
def open_capture(tmp_path):
    painters = []

    def opened(writer="me", per_digit=2, seed=0) -> tuple[Window, capture.Recorder]:
        path = tmp_path / "set.npz"
        recorder = capture.Recorder(path, writer, per_digit=per_digit, rng=np.random.default_rng(seed))
        painters.append(capture.open_window(recorder, {}))
        return Window(painters[-1]), recorder

    yield opened
    for painter in painters:
        painter.close()
        for worker in painter.workers:
            worker.join(DEADLINE)
    painters.clear()
    gc.collect()


def button(window: Window, text: str):
    """Return a button of the window by its text."""
    widgets = [window.root]
    for widget in widgets:
        if widget.winfo_class() == "TButton" and widget.cget("text") == text:
            return widget
        widgets += widget.winfo_children()
    raise AssertionError(f"there is no button {text}")


def the_card(window: Window):
    return next(iter(window.painter.workers.values()))


def test_capture_asks_records_and_asks_again(open_capture, tmp_path):
    window, recorder = open_capture()
    wanted = recorder.wanted
    assert the_card(window).digit == str(wanted)
    window.key("<Return>")
    assert not (tmp_path / "set.npz").exists(), "blank paper is not recorded"
    window.draw(*ONE)
    window.answered()
    assert the_card(window).digit == str(wanted), "the question stays while one draws"
    strokes, image = window.painter.drawing.points(), window.painter.image
    window.key("<Return>")
    saved = load_drawings(tmp_path / "set.npz")
    assert saved.labels.tolist() == [wanted]
    assert saved.writers.tolist() == ["me"]
    assert np.array_equal(saved.strokes[0][0], strokes[0])
    assert np.array_equal(saved.images[0], image)
    assert window.painter.drawing.strokes == []
    assert the_card(window).digit == str(recorder.wanted) != str(wanted)
    assert "1 of 20" in texts(the_card(window))


def test_capture_confirms_with_the_pen_still_down_and_by_space(open_capture, tmp_path):
    window, _ = open_capture()
    window.draw(*ONE, lift=False)
    window.key("<space>")
    assert len(load_drawings(tmp_path / "set.npz")) == 1
    window.answered()
    assert len(load_drawings(tmp_path / "set.npz")) == 1


def test_capture_records_the_drawing_that_is_on_the_canvas(open_capture, tmp_path):
    window, _ = open_capture()
    for worker in window.painter.workers:  # confirmed before the recorder's own thread has come to it
        worker.ask = lambda revision, image: None
    for stroke in (ONE, DASH):
        window.draw(*stroke)
        window.key("<Return>")
    one, dash = load_drawings(tmp_path / "set.npz").images
    assert np.count_nonzero(one.any(axis=1)) > 15 > np.count_nonzero(one.any(axis=0))
    assert np.count_nonzero(dash.any(axis=0)) > 15 > np.count_nonzero(dash.any(axis=1))


@pytest.mark.parametrize("how", ["click", "<Control-r>"])
def test_capture_redoes_the_last(open_capture, tmp_path, how):
    window, recorder = open_capture()
    labels = []
    for _ in range(3):
        labels.append(recorder.wanted)
        window.draw(*ONE)
        window.key("<Return>")
    if how == "<Control-r>":
        window.key(how)
    else:
        window.click(button(window, "Redo the last"))
    assert recorder.wanted == labels[-1]
    assert the_card(window).digit == str(labels[-1])
    assert load_drawings(tmp_path / "set.npz").labels.tolist() == labels[:2]
    window.draw(*DASH)
    window.key("<Return>")
    assert load_drawings(tmp_path / "set.npz").labels.tolist() == labels


def test_capture_to_the_end(open_capture, tmp_path):
    window, recorder = open_capture(per_digit=1)
    save = button(window, "Save (Enter)")
    for number in range(10):
        assert not save.instate(["disabled"])
        window.draw(*ONE)
        if number:
            window.key("<Return>")
        else:
            window.click(save)
    assert recorder.wanted is None
    shown = texts(the_card(window))
    assert "All 10 are done" in shown
    assert "python test_ann.py --drawn" in shown
    assert "set.npz" in shown
    assert save.instate(["disabled"])
    window.draw(*ONE)
    window.key("<Return>")
    window.click(save)
    assert sorted(load_drawings(tmp_path / "set.npz").labels.tolist()) == list(range(10))
    window.key("<Control-r>")
    assert not save.instate(["disabled"])
    assert recorder.wanted is not None


def test_capture_says_why_nothing_happened(open_capture, tmp_path):
    window, _ = open_capture()
    said = window.painter._remark
    window.key("<Return>")
    assert "Draw the digit first" in said.cget("text")
    window.draw(*ONE)
    assert said.cget("text") == ""
    window.key("<Escape>")
    window.key("<Control-r>")
    assert "no drawing to take back" in said.cget("text")
    assert not (tmp_path / "set.npz").exists()


def test_capture_that_cannot_save_says_so_and_keeps_the_drawing(open_capture, monkeypatch):
    window, recorder = open_capture()
    wanted = recorder.wanted

    def full(path, drawings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.drawings.save_drawings", full)
    window.draw(*ONE)
    window.key("<Return>")
    assert "No space left" in texts(the_card(window))
    assert len(window.painter.drawing.strokes) == 1
    assert recorder.wanted == wanted
    monkeypatch.undo()
    window.key("<Return>")
    assert len(recorder.drawings) == 1
    assert window.painter.drawing.strokes == []
