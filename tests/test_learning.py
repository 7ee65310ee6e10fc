"""Labelling drawings in the real window, and learning from them, with real events."""

from __future__ import annotations

import sys
import threading

import predict
from classifier import ROOT
from toolkit.drawings import load_drawings
from toolkit.painting import Model

import numpy as np
import pytest
from fakes import DEADLINE, Fake

tk = pytest.importorskip("tkinter", reason="this Python has no tkinter")
from toolkit.learning import Learner, Lessons  # noqa: E402

from test_window import DASH, ONE, Window, _needs_a_display, open_window, texts  # noqa: E402, F401

pytestmark = pytest.mark.screen


@pytest.fixture
def path(tmp_path):
    return tmp_path / "captured" / "corrections.npz"


def click_bar(window: Window, card, digit: int) -> None:
    left, top, _, bottom = card.bbox(f"track{digit}")
    window.click(card, left + 2, (top + bottom) // 2)


def test_a_key_labels_the_drawing(open_window, path):  # noqa: F811
    window, cards = open_window(Fake, lambda: Fake(sure=0.5))
    lessons = Lessons(window.painter, path)
    window.draw(*ONE)
    window.answered()
    window.key("7")
    saved = load_drawings(path)
    assert saved.labels.tolist() == [7]
    assert saved.said.tolist() == ['{"Model 0": 1, "Model 1": 1}']
    assert np.array_equal(saved.images[0], window.painter.image)
    assert lessons.line.cget("text") == "Saved as 7"
    assert "today 0 of 1 ✓" in texts(cards[0])
    window.key("1")
    assert load_drawings(path).labels.tolist() == [1], "a second label replaces the first"
    assert "today 1 of 1 ✓" in texts(cards[1])
    window.key("<Escape>")
    window.draw(*DASH)
    assert lessons.line.cget("text") == ""
    window.answered()
    window.key("5")
    assert load_drawings(path).labels.tolist() == [1, 5]
    assert "today 1 of 2 ✓" in texts(cards[0])


def test_a_click_on_a_bar_labels_the_drawing(open_window, path):  # noqa: F811
    window, cards = open_window(Fake, Fake)
    Lessons(window.painter, path)
    window.draw(*ONE)
    window.answered()
    for digit in range(10):
        click_bar(window, cards[digit % 2], digit)
        assert load_drawings(path).labels.tolist() == [digit]
    window.click(cards[0], 30, 20)
    assert load_drawings(path).labels.tolist() == [9], "the title is no bar"


def test_blank_paper_is_not_labelled(open_window, path):  # noqa: F811
    window, cards = open_window(Fake)
    lessons = Lessons(window.painter, path)
    window.key("7")
    click_bar(window, cards[0], 3)
    assert not path.exists()
    assert "Draw a digit first" in lessons.line.cget("text")


def test_control_and_a_digit_label_nothing(open_window, path):  # noqa: F811
    window, _ = open_window(Fake)
    Lessons(window.painter, path)
    window.draw(*ONE)
    window.answered()
    window.key("<Control-Key-5>")
    assert not path.exists()


def test_a_correction_that_cannot_be_saved_is_said(open_window, path):  # noqa: F811
    path.parent.mkdir()
    path.write_bytes(b"not ours")
    window, _ = open_window(Fake)
    lessons = Lessons(window.painter, path)
    window.draw(*ONE)
    window.key("1")
    assert "not saved" in lessons.line.cget("text")
    assert path.read_bytes() == b"not ours"
    assert window.painter.drawing.strokes


def test_labels_do_not_wait_for_a_slow_classifier(open_window, path):  # noqa: F811
    gate = threading.Event()
    window, _ = open_window(Fake, lambda: Fake(gate=gate))
    Lessons(window.painter, path)
    window.draw(*ONE)
    window.until(lambda: len(window.painter.waiting) == 1)
    window.key("1")
    assert load_drawings(path).said.tolist() == ['{"Model 0": 1}']
    gate.set()


CODE = """
import sys
from pathlib import Path
from softmax import Softmax
model = Softmax()
part = {"count": 4, "before": 2, "after": 3}
model.trained_on = {"fine_tuned": {"corrections": part, "validation": {**part, "count": 2000}}}
model.save(sys.argv[1])
"""


def learner_of(card, output, *words: str) -> Learner:
    model = Model("trained/x.safetensors", "fresh", lambda: Fake(sure=0.7))
    return Learner(card, lambda: [sys.executable, *words], output, lambda: [model, model])


def test_the_window_learns_in_the_background(open_window, path, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    window, cards = open_window(Fake, Fake)
    output = tmp_path / "x.safetensors"
    lessons = Lessons(window.painter, path, [learner_of(cards[1], output, "-c", CODE, str(output))])
    assert not lessons.link.winfo_ismapped()
    window.key("<Control-l>")
    assert lessons.process is None, "there is nothing to learn from"
    window.draw(*ONE)
    window.answered()
    window.key("1")
    assert lessons.link.winfo_ismapped()
    window.click(lessons.link)
    assert lessons.process is not None
    assert "learning" in lessons.line.cget("text")
    assert not lessons.link.winfo_ismapped()
    window.key("2")
    window.until(lambda: lessons.process is None)
    assert "Model 1: corrections 2 → 3 of 4" in lessons.line.cget("text")
    assert "2000" in lessons.line.cget("text")
    window.answered()
    assert cards[1].note == "70.0\u00a0%", "the card has the new model"
    assert "fresh" in texts(cards[1])
    assert dict(window.painter.keys)["Ctrl+2"].startswith("Model 1"), "there are two to choose among now"
    assert cards[0].note == "90.0\u00a0%"


def test_a_refusal_is_said_and_the_card_stays(open_window, path, tmp_path):  # noqa: F811
    window, cards = open_window(Fake)
    refusal = 'import sys; sys.exit("train_ann.py: error: the new model is refused.")'
    lessons = Lessons(window.painter, path, [learner_of(cards[0], tmp_path / "x", "-c", refusal)])
    window.draw(*ONE)
    window.answered()
    window.key("1")
    window.key("<Control-l>")
    window.until(lambda: lessons.process is None)
    assert lessons.line.cget("text") == "Model 0: not learned: the new model is refused."
    assert cards[0].note == "90.0\u00a0%"
    window.draw(*DASH)
    assert lessons.link.winfo_ismapped(), "to try again"


def test_closing_the_window_ends_the_learning(open_window, path, tmp_path):  # noqa: F811
    window, cards = open_window(Fake)
    words = "-c", f"import time; time.sleep({DEADLINE * 10})"
    lessons = Lessons(window.painter, path, [learner_of(cards[0], tmp_path / "x", *words)])
    window.draw(*ONE)
    window.key("1")
    window.key("<Control-l>")
    process = lessons.process
    assert process.poll() is None
    window.painter.close()
    assert process.wait(DEADLINE) != 0


def test_one_learns_after_the_other(open_window, path, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    window, cards = open_window(Fake, Fake)
    output = tmp_path / "x.safetensors"
    refused = learner_of(cards[0], output, "-c", "import sys; sys.exit(2)")
    lessons = Lessons(window.painter, path, [refused, learner_of(cards[1], output, "-c", CODE, str(output))])
    window.draw(*ONE)
    window.answered()
    window.key("1")
    window.key("<Control-l>")
    window.until(lambda: lessons.process is None)
    first, second = lessons.line.cget("text").splitlines()
    assert first == "Model 0: not learned: exit 2"
    assert second.startswith("Model 1: corrections 2 → 3 of 4")


@pytest.mark.parametrize("kind", predict.LEARNERS)
def test_the_program_offers_to_learn(kind):
    words = predict.learning_command(kind)
    assert words[1:3] == [str(ROOT / f"train_{kind}.py"), "--quiet"]
    assert words[words.index("--from") + 1].endswith(f"{kind}.safetensors")
