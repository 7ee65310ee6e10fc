"""The panel that explains answers, in the real window: keys, languages, threads, and what fails."""

from __future__ import annotations

import threading

from toolkit.painting import TEXTS
from toolkit.report.texts import Texts
from toolkit.why import Part, Picture

import numpy as np
import pytest
from fakes import Fake
from test_window import DASH, ONE, open_window, texts, tk  # noqa: F401

pytestmark = pytest.mark.screen


class Explaining(Fake):
    """Explains in one line, of which the thread is noted."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.threads = []

    def explanation(self, image, digit):
        self.threads.append(threading.current_thread())
        values = np.zeros((2, 2), np.float32)
        values[0] = 1, -0.5
        return [Part(f"It is a {digit}.", [Picture(values, digit, -0.25)], signed=True)]


class Broken(Fake):
    def explain(self, image):
        raise RuntimeError("no idea")


class Plain:
    """All that the window needs of a classifier."""

    def __init__(self) -> None:
        self.metrics = {}

    def predict_proba(self, images):
        return np.full(10, 0.1, np.float32)


def shown(window) -> str:
    assert window.painter.why.winfo_ismapped()
    return texts(window.painter.why.canvas)


def test_a_key_explains_and_escape_returns_to_the_answers(open_window):  # noqa: F811
    explaining = Explaining()
    window, (card,) = open_window(lambda: explaining)
    window.draw(*ONE)
    window.answered()
    assert not explaining.threads, "nobody asked why"
    window.key("<w>")
    window.until(lambda: "It is a 1." in shown(window))
    assert "1  90.0\u00a0%" in shown(window)
    assert "1: −0.25" in shown(window)
    assert explaining.threads == list(window.painter.workers)
    window.key("<Escape>")
    assert not window.painter.why.winfo_ismapped()
    assert card.digit == "1"
    assert window.painter.drawing.strokes
    window.key("<Escape>")
    assert not window.painter.drawing.strokes
    window.key("<W>")
    assert shown(window) == window.painter.texts.say("why_nothing")
    window.key("<w>")
    assert not window.painter.why.winfo_ismapped()
    assert len(explaining.threads) == 1


def test_it_follows_the_drawing_whenever_the_pen_is_up(open_window):  # noqa: F811
    explaining = Explaining()
    window, _ = open_window(lambda: explaining)
    window.key("<w>")
    window.draw(*ONE, lift=False)
    window.answered()
    assert not explaining.threads, "the pen is down"
    window.canvas.event_generate("<ButtonRelease-1>", x=9, y=9)
    window.answered()
    window.until(lambda: "It is a" in shown(window))
    window.painter.clear()
    window.root.update()
    assert "It is a" not in shown(window)
    window.draw(*DASH)
    window.until(lambda: "It is a 0." in shown(window))
    window.until(lambda: not window.painter._polling)


def test_what_fails_says_so_and_what_cannot_explain_is_not_shown(open_window):  # noqa: F811
    window, (_, broken, *_) = open_window(Explaining, Broken, Fake, Plain, lambda: 1 / 0)
    window.draw(*ONE)
    window.answered()
    window.key("<w>")
    window.answered()
    assert "RuntimeError: no idea" in shown(window)
    assert broken.state == "ready", "its answer stands"
    assert [name for name in shown(window).splitlines() if "Model" in name] == ["Model 0", "Model 1"]


def test_without_explanations_there_is_nothing_to_open(open_window):  # noqa: F811
    window, _ = open_window(Plain)
    assert not window.painter.why.link.winfo_ismapped()
    assert "W" not in dict(window.painter.keys)
    window.key("<w>")
    assert not window.painter.why.is_open


@pytest.mark.parametrize(
    ("language", "link", "close"), [("en", "Why?", "Close"), ("es", "¿Por qué?", "Cerrar")]
)
def test_a_link_opens_it_in_the_windows_language(open_window, softmax_model, language, link, close):  # noqa: F811
    window, _ = open_window(lambda: softmax_model, language=language)
    assert window.painter.why.link.cget("text") == link
    window.draw(*ONE)
    window.click(window.painter.why.link)
    window.answered()
    said = Texts(language, TEXTS)
    assert said.say("why_ink") in shown(window)
    assert said.say("why_weights") in shown(window)
    assert window.painter.why.link.cget("text") == f"{close} (Esc)"
    window.click(window.painter.why.link)
    assert not window.painter.why.winfo_ismapped()


@pytest.mark.parametrize("dark", [False, True])
def test_blue_is_for_and_orange_against(open_window, dark):  # noqa: F811
    window, _ = open_window(Explaining, dark=dark)
    window.draw(*ONE)
    window.key("<w>")
    window.answered()
    (sheet,) = window.painter.why._pictures
    middles = sheet.width() // 4, 3 * sheet.width() // 4
    colours = [[f"#{bytes(sheet.get(x, y)).hex()}" for x in middles] for y in middles]
    look = window.painter.look.colour
    assert colours[0][0] == look["accent"]
    assert colours[0][1] not in (look["doubt"], look["paper"]), "half of it"
    assert colours[1] == [look["paper"]] * 2


def test_every_size_shows_all_by_scrolling(open_window, ann_model, svm_model):  # noqa: F811
    window, _ = open_window(lambda: ann_model, lambda: svm_model, scale=1)
    canvas = window.painter.why.canvas
    window.draw(*ONE)
    window.key("<w>")
    window.answered()
    for wanted in ("760x480", "1300x700"):
        window.root.geometry(wanted)
        window.until(lambda wanted=wanted: window.root.geometry().startswith(wanted))
        left, _, right, bottom = canvas.bbox("all")
        assert -1 <= left < right <= canvas.winfo_width() + 1
        assert bottom <= int(canvas.cget("scrollregion").split()[3]) + 1
        for _ in range(20):
            window.key("<Next>")
        assert canvas.yview()[1] == 1
        for _ in range(50):
            canvas.event_generate("<Button-4>", x=5, y=5)
        window.root.update()
        assert canvas.yview()[0] == 0
