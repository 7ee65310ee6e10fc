"""The painter's logic without a screen: the drawing, the workers, the words on a card."""

from __future__ import annotations

import argparse
import queue
import re
import string
import sys
import threading

from classifier import ROOT, Classifier, ModelFileError, best_guess
from toolkit import painting
from toolkit.certainty import fit_threshold
from toolkit.framing import frame_strokes
from toolkit.painting import (
    BOX,
    LANGUAGES,
    TEXTS,
    Answer,
    Drawing,
    Worker,
    add_flags,
    reason,
    system_is_dark,
    system_language,
)
from toolkit.report.texts import Texts

import numpy as np
import pytest

pytest.importorskip("tkinter", reason="this Python has no tkinter")
from toolkit.cards import percent


class Fake(Classifier):
    """Answers the number of inked pixels modulo 10; slow or broken on demand."""

    kind, name = "fake", "Fake"

    def __init__(self, gate: threading.Event | None = None, error: Exception | None = None) -> None:
        super().__init__()
        self.gate, self.error = gate, error
        self.asked = 0

    def probabilities(self, images):
        self.asked += 1
        if images.any():
            if self.gate is not None:
                self.gate.wait(60)
            if self.error is not None:
                raise self.error
        return np.eye(10, dtype=np.float32)[(images > 0).sum(axis=(1, 2)) % 10]

    def arrays(self):
        return {}

    def set_arrays(self, arrays):
        pass


def image(pixels: int) -> np.ndarray:
    flat = np.zeros(784, dtype=np.uint8)
    flat[:pixels] = 255
    return flat.reshape(28, 28)


def test_drawing_keeps_strokes_and_counts_revisions():
    drawing = Drawing()
    assert not drawing.image().any()
    drawing.press(100, 100, 28)
    assert drawing.move(100, 300)
    assert not drawing.move(100, 300), "the same point again draws nothing"
    assert drawing.lift()
    assert not drawing.lift()
    assert not drawing.move(200, 300), "the pen is up"
    assert drawing.strokes == [[(100, 100), (100, 300)]]
    assert drawing.widths == [28]
    assert np.array_equal(drawing.image(), frame_strokes([np.array([[100, 100], [100, 300]])]))
    revisions = [drawing.revision]
    drawing.press(50, 50, 10)
    revisions.append(drawing.revision)
    assert drawing.undo(), "a stroke that is still being drawn can be taken back"
    assert not drawing.pen_down
    revisions.append(drawing.revision)
    assert len(drawing.strokes) == 1
    assert drawing.clear()
    revisions.append(drawing.revision)
    assert len(set(revisions)) == 4
    assert not drawing.clear()
    assert not drawing.undo()
    assert drawing.revision == revisions[-1], "nothing changed"
    assert not drawing.image().any()


def test_points_outside_stay_at_the_edge():
    drawing = Drawing()
    drawing.press(-1e9, 250, 28)
    drawing.move(250, 1e9)
    (points,) = drawing.points()
    assert points.dtype == np.int16
    assert points.tolist() == [[0, 250], [250, BOX]]


def test_the_pens_width_does_not_change_the_image():
    images = []
    for width in (8, 70):
        drawing = Drawing()
        drawing.press(100, 100, width)
        drawing.move(300, 400)
        images.append(drawing.image())
    assert np.array_equal(*images)


def test_saved_points_give_the_image_that_was_seen():
    rng = np.random.default_rng(0)
    drawing = Drawing()
    drawing.press(*rng.uniform(0, BOX, 2), 28)
    for _ in range(50):
        drawing.move(*rng.uniform(0, BOX, 2))
    assert np.array_equal(drawing.image(), frame_strokes(drawing.points()))


def run_worker(load) -> tuple[Worker, queue.SimpleQueue]:
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    worker = Worker(load, answers)
    worker.start()
    return worker, answers


def test_worker_answers_and_stops():
    worker, answers = run_worker(Fake)
    assert answers.get(timeout=60).error is None
    worker.ask(5, image(3))
    answer = answers.get(timeout=60)
    assert answer.revision == 5
    assert answer.probabilities.argmax() == 3
    worker.stop()
    worker.join(60)
    assert not worker.is_alive()


def test_worker_skips_to_the_latest_drawing():
    gate = threading.Event()
    fake = Fake(gate)
    worker, answers = run_worker(lambda: fake)
    assert answers.get(timeout=60).revision is None
    worker.ask(1, image(1))
    while fake.asked < 2:  # the first question is the one that warms up
        pass
    for revision in range(2, 50):
        worker.ask(revision, image(revision))
    gate.set()
    assert [answers.get(timeout=60).revision for _ in range(2)] == [1, 49]
    assert fake.asked == 3
    worker.stop()
    worker.join(60)


def test_worker_survives_a_failing_answer():
    fake = Fake(error=ZeroDivisionError("oh"))
    worker, answers = run_worker(lambda: fake)
    answers.get(timeout=60)
    worker.ask(1, image(1))
    assert isinstance(answers.get(timeout=60).error, ZeroDivisionError)
    fake.error = None
    worker.ask(2, image(2))
    assert answers.get(timeout=60).probabilities.argmax() == 2
    worker.stop()
    worker.join(60)


@pytest.mark.parametrize("answer", [np.zeros(9, np.float32), np.full(10, np.nan, np.float32), "7"])
def test_worker_refuses_an_answer_that_is_none(answer):
    fake = Fake()
    worker, answers = run_worker(lambda: fake)
    answers.get(timeout=60)
    fake.predict_proba = lambda images: answer
    worker.ask(1, image(1))
    assert isinstance(answers.get(timeout=60).error, (ValueError, AttributeError))
    worker.stop()
    worker.join(60)


def test_worker_reports_a_model_that_cannot_be_loaded():
    def load():
        raise ModelFileError("there is no model file x.")

    worker, answers = run_worker(load)
    answer = answers.get(timeout=60)
    assert answer.revision is None
    assert isinstance(answer.error, ModelFileError)
    worker.join(60)
    assert not worker.is_alive()


def test_reasons_are_sentences():
    path = ROOT / "trained" / "svm.safetensors"
    assert (
        reason(ModelFileError(f"there is no model file {path}."))
        == "There is no model file " + str(path.relative_to(ROOT)) + "."
    )
    assert reason(ModuleNotFoundError("No module", name="sklearn")) == "The package sklearn is not installed."
    assert reason(ZeroDivisionError("oh")) == "ZeroDivisionError: oh"


def test_percent_neither_lies_nor_boasts():
    english, spanish = (Texts(language, TEXTS) for language in ("en", "es"))
    assert percent(1.0, english) == percent(0.9994, english) == "> 99.9\u00a0%"
    assert percent(0.999, english) == "99.9\u00a0%"
    assert percent(0.1234, english) == "12.3\u00a0%"
    assert percent(0.1234, spanish) == "12,3\u00a0%"


def test_each_language_has_all_texts_with_the_same_placeholders():
    def placeholders(texts):
        fields = {key: string.Formatter().parse(text) for key, text in texts.sentences.items()}
        return {key: sorted(name for _, name, _, _ in parsed if name) for key, parsed in fields.items()}

    assert {"en", "es"} <= set(LANGUAGES)
    for language in LANGUAGES:
        texts = Texts(language, TEXTS)
        assert placeholders(texts) == placeholders(Texts("en", TEXTS))
        assert all(text.strip() for text in texts.sentences.values())


def test_no_text_is_missing_or_left_over():
    files = ["digitpainter.py", "capture.py", "softmax.py", "svm.py", "ann.py", "predict.py"]
    files += [f"toolkit/{name}.py" for name in ("cards", "help", "learning", "why", "why_panel")]
    files += ["toolkit/browser.html"]
    code = "".join((ROOT / file).read_text() for file in files)
    keys = set(Texts("en", TEXTS).sentences)
    assert set(re.findall(r"""\bsay\(["'](\w+)["']""", code)) <= keys
    by_metric = {"on_mnist", "on_drawings"}
    used = set(re.findall(r"""["'](\w+)["']|TEXTS\.(\w+)""", code))
    assert keys - by_metric - {name for names in used for name in names} == set()


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LC_ALL": "en_GB.UTF-8", "LANG": "es_ES"}, "en"),
        ({"LC_MESSAGES": "es", "LANG": "en_US"}, "es"),
        ({"LANG": "ja_JP.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
    ],
)
def test_the_window_speaks_the_systems_language_if_it_can(monkeypatch, variables, language):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert system_language() == language


def test_dark_and_language_follow_the_system_unless_flags_say_otherwise(monkeypatch):
    def options(*words):
        parser = argparse.ArgumentParser()
        add_flags(parser)
        return painting.options(parser.parse_args(words))

    monkeypatch.setattr(painting, "system_language", lambda: "es")
    for dark in (False, True):
        monkeypatch.setattr(painting, "system_is_dark", lambda dark=dark: dark)
        assert options() == {"dark": dark, "scale": None, "language": "es"}
        assert options("--dark", "--lang", "en") == {"dark": True, "scale": None, "language": "en"}
        assert not options("--light")["dark"]


def test_gnome_says_whether_it_is_dark(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not system_is_dark(), "no GNOME here"
    program = tmp_path / "gsettings"
    for answer, dark in (("'prefer-dark'", True), ("'default'", False)):
        program.write_text(f'#!/bin/sh\necho "{answer}"\n')
        program.chmod(0o755)
        assert system_is_dark() is dark


def test_best_guess_is_the_argmax_and_unsure_below_the_threshold():
    probabilities = np.full(10, 0.05, dtype=np.float32)
    probabilities[4] = 0.55
    assert best_guess(probabilities, None) == (4, False)
    assert best_guess(probabilities, 0.5) == (4, False)
    assert best_guess(probabilities, 0.6) == (4, True)
    assert best_guess(probabilities, float(probabilities[4])) == (4, False)


def rows(confidences, digits) -> np.ndarray:
    table = np.zeros((len(digits), 10), dtype=np.float32)
    table[np.arange(len(digits)), digits] = confidences
    return table


def test_threshold_is_the_smallest_that_is_right_often_enough():
    confidences = [0.99, 0.9, 0.8, 0.7, 0.6, 0.5]
    probabilities = rows(confidences, [1, 2, 3, 4, 5, 6])
    labels = np.array([1, 2, 3, 4, 0, 6])  # the fifth is wrong
    assert fit_threshold(probabilities, labels, precision=1.0) == pytest.approx(0.7)
    assert fit_threshold(probabilities, labels, precision=0.8) == pytest.approx(0.5)
    assert fit_threshold(probabilities, labels, precision=0.99) == pytest.approx(0.7)


def test_threshold_of_equal_probabilities_takes_or_leaves_them_together():
    probabilities = rows([0.9, 0.8, 0.8, 0.8], [1, 2, 3, 4])
    assert fit_threshold(probabilities, np.array([1, 2, 3, 0]), precision=1.0) == pytest.approx(0.9)


def test_threshold_where_none_is_good_enough():
    probabilities = rows([0.9, 0.8], [1, 2])
    assert fit_threshold(probabilities, np.array([0, 0])) == 1.0
    assert fit_threshold(probabilities[:0], np.array([], dtype=np.int64)) == 1.0


def test_threshold_leaves_most_answers_alone_however_bad_they_are():
    probabilities = rows(np.linspace(0.5, 0.99, 100), np.arange(100) % 10)
    threshold = fit_threshold(probabilities, np.full(100, 7), precision=0.99, at_most=0.25)
    assert (probabilities.max(axis=1) < threshold).sum() == 25
    good = fit_threshold(probabilities, np.arange(100) % 10, precision=0.99, at_most=0.25)
    assert good == pytest.approx(0.5)


def test_threshold_keeps_its_promise_on_random_answers():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(10, 0.02), 5000).astype(np.float32)
    labels = np.array([rng.choice(10, p=row / row.sum()) for row in probabilities.astype(np.float64)])
    threshold = fit_threshold(probabilities, labels, precision=0.95)
    kept = probabilities.max(axis=1) >= np.float32(threshold)
    assert (probabilities.argmax(axis=1) == labels)[kept].mean() >= 0.95
    assert 0.3 < kept.mean() < 1
