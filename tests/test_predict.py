"""Digits from pictures on the terminal, and what `predict.py` says where it cannot."""

from __future__ import annotations

import subprocess
import sys

import predict
from classifier import ROOT, Classifier, InputError, ModelFileError
from toolkit.painting import TEXTS
from toolkit.report.texts import Texts

import numpy as np
import pytest
from PIL import Image


class Counter(Classifier):
    """Answers 1 for an image that is taller than wide, else 0, with the probability 0.7."""

    kind, name = "counter", "Counter"

    def probabilities(self, images):
        high, wide = (np.count_nonzero(images[0].any(axis=axis)) for axis in (1, 0))
        answer = np.full((len(images), 10), 0.3 / 9, dtype=np.float32)
        answer[:, int(high > wide)] = 0.7
        return answer

    def arrays(self):
        return {}

    def set_arrays(self, arrays):
        pass


@pytest.fixture
def classifiers(monkeypatch):
    """Two classifiers, one of them unsure, and one without a model."""
    unsure = Counter()
    unsure.metrics["unsure_below"] = 0.8
    there = {"one": Counter(), "two": unsure}

    def load(kind):
        if kind not in there:
            raise ModelFileError("there is no model file x.")
        return there[kind]

    monkeypatch.setattr(predict, "load", load)
    monkeypatch.setattr(predict, "load_detector", lambda: None)
    monkeypatch.setattr(predict, "CLASSIFIERS", {"one": "One", "two": "Two", "three": "Three"})
    return there


def one(side: int = 100) -> np.ndarray:
    picture = np.full((side, side), 255, np.uint8)
    picture[side // 5 : side * 4 // 5, side // 2 - side // 20 : side // 2 + side // 20] = 0
    return picture


def transparent(ink: int, side: int = 100) -> Image.Image:
    alpha = 255 - one(side)
    return Image.fromarray(np.dstack([np.full((side, side, 3), ink, np.uint8), alpha]))


def test_a_line_for_each_picture(classifiers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures = {
        "small.png": Image.fromarray(one(20)),
        "large.jpg": Image.fromarray(one(1200)),
        "light_on_dark.png": Image.fromarray(255 - one()),
        "colour.png": Image.fromarray(one()).convert("RGB"),
        "palette.gif": Image.fromarray(one()).convert("P"),
        "transparent.png": transparent(0),
        "light_on_transparent.png": transparent(255),
        "deep.png": Image.fromarray(one().astype(np.uint16) * 257),
        "bits.png": Image.fromarray(one()).convert("1"),
        "dash.bmp": Image.fromarray(one().T.copy()),
        "blank.png": Image.fromarray(np.full((50, 50), 255, np.uint8)),
    }
    for name, picture in pictures.items():
        picture.save(name)
    predict.main(list(pictures))
    printed = capsys.readouterr()
    for name, line in zip(pictures, printed.out.splitlines(), strict=True):
        digit = 0 if name == "dash.bmp" else 1
        answers = f"One {digit} (0.700), Two {digit}? (0.700)"
        assert line == f"{name}: {'no digit' if name == 'blank.png' else answers}"
    assert printed.err.splitlines() == [
        "Three does not answer: there is no model file x. To make its model: python train_three.py"
    ]


def test_what_is_no_picture_is_said_before_any_answer(classifiers, tmp_path, capsys):
    good, bad, cut = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "cut.png"
    Image.fromarray(one()).save(good)
    bad.write_text("not a picture")
    cut.write_bytes(good.read_bytes()[:60])
    for file in (bad, cut, tmp_path / "missing.png", tmp_path):
        with pytest.raises(InputError, match=file.name):
            predict.main([str(good), str(file)])
    assert capsys.readouterr().out == ""


def test_no_classifier_at_all(classifiers, tmp_path):
    classifiers.clear()
    Image.fromarray(one()).save(tmp_path / "one.png")
    with pytest.raises(InputError, match="no classifier"):
        predict.main([str(tmp_path / "one.png")])


def test_every_classifier_can_be_named(softmax_model, tmp_path, monkeypatch):
    softmax_model.save(tmp_path / "softmax.safetensors")
    monkeypatch.setattr(predict, "find_model", lambda kind: tmp_path / f"{kind}.safetensors")
    monkeypatch.setattr(predict, "ROOT", tmp_path)
    assert predict.load("softmax").config == softmax_model.config
    assert predict.find_models("softmax") == [tmp_path / "softmax.safetensors"]
    assert predict.find_models("svm") == []
    texts = Texts("en", TEXTS)
    (model,) = predict.models("softmax", texts)
    assert (model.label, model.source) == ("softmax.safetensors", "shipped model")
    assert predict.models("svm", texts) == []
    for kind, name in predict.CLASSIFIERS.items():
        script = predict.command(kind).split()[1]
        assert (ROOT / script).is_file()
        assert (ROOT / f"{kind}.py").is_file()
        assert predict.load_class(kind).__name__ == name
        assert predict.load_class(kind).kind == kind
        if kind != "softmax":
            with pytest.raises(ModelFileError):
                predict.load(kind)


def test_the_models_to_choose_among(monkeypatch, tmp_path):
    for name in (
        "models/ann",
        "models/svm",
        "trained/ann",
        "trained/ann-quick",
        "trained/anna",
        "trained/svm-2",
    ):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(predict, "ROOT", tmp_path)
    monkeypatch.setattr("classifier.ROOT", tmp_path)

    def names(kind):
        return [path.relative_to(tmp_path).as_posix() for path in predict.find_models(kind)]

    own = ["trained/ann.safetensors", "trained/ann-quick.safetensors", "trained/anna.safetensors"]
    assert names("ann") == [*own, "models/ann.safetensors"]
    assert names("svm") == ["models/svm.safetensors", "trained/svm-2.safetensors"]
    assert names("softmax") == []


def test_command_line(script, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in script("predict.py", "text.png", status=2).stderr
    assert "display" in script("predict.py", status=2, DISPLAY="").stderr


def test_pictures_need_no_tkinter(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['tkinter'] = None\n"
        "import predict\nfrom toolkit import commandline\n"
        "commandline.run(lambda: predict.main(sys.argv[1:]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "missing.png"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "missing.png" in ended.stderr
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "tkinter" in ended.stderr
    assert "Traceback" not in ended.stderr
