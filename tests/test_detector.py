"""Whether an image is a digit at all: the non-digits, the training, and the shipped detector."""

from __future__ import annotations

import predict
import train_detector
from classifier import ROOT, InputError, ModelFileError
from detector import Detector
from toolkit import drawings, nondigits
from toolkit.files import read_arrays, write_arrays
from toolkit.framing import frame_picture, frame_strokes

import numpy as np
import pytest
from PIL import Image

TINY = {"conv_channels": (4, 8)}


@pytest.fixture(scope="module")
def shipped():
    return Detector.load(ROOT / "models" / "detector.safetensors")


@pytest.fixture(scope="module")
def validation():
    return drawings.load("pendigits", "validation")


@pytest.fixture(scope="module")
def recorded(validation):
    return nondigits.by_digit(validation)


def ellipse(width: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 50)
    return np.stack([width * np.cos(angle), np.sin(angle)], axis=1)


# Non-digits


@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("kind", nondigits.KINDS)
def test_a_kind_gives_images_that_differ_and_depend_on_the_seed_alone(recorded, kind, varied):
    one, same, other = (
        nondigits.images(kind, recorded, 4, np.random.default_rng(seed), varied=varied) for seed in (1, 1, 2)
    )
    assert one.shape == (4, 28, 28)
    assert one.dtype == np.uint8
    assert (one > 127).any(axis=(1, 2)).all()
    assert (one == same).all()
    assert (one != other).any()
    assert len(np.unique(one, axis=0)) > 1


def test_every_group_has_kinds_to_train_on_and_kinds_that_only_test():
    groups = {kind.group for kind in nondigits.KINDS.values()}
    for unseen in (False, True):
        assert {kind.group for kind in nondigits.KINDS.values() if kind.unseen is unseen} == groups


# The shipped detector


@pytest.mark.parametrize("kind", nondigits.KINDS)
def test_it_flags_nine_in_ten_of_each_kind(shipped, recorded, kind):
    images = nondigits.images(kind, recorded, 60, np.random.default_rng(11))
    assert shipped.flagged(images) >= 0.9


def test_it_flags_at_most_one_drawing_in_fifty(shipped, validation):
    some = drawings.select(validation, np.arange(len(validation)) % 3 == 0)
    assert shipped.flagged(drawings.framed(some)) <= 0.02


def test_it_flags_at_most_one_image_of_mnist_in_fifty(shipped, mnist_dir):
    from toolkit import datasets

    assert shipped.flagged(datasets.load("validation", data=mnist_dir).images) <= 0.02


def test_an_upright_line_is_a_digit_and_so_is_a_circle(shipped):
    for x in (-20, 0, 20):
        assert shipped.is_digit(frame_strokes([np.array([[x, 0], [0, 100]])]))
    for width in (0.5, 0.8, 1.0):
        assert shipped.is_digit(frame_strokes([ellipse(width)]))


@pytest.mark.parametrize(
    "strokes",
    [
        [np.array([[0, 0], [100, 0]])],
        [np.array([[0, 0]])],
        [np.array([[0, 0], [0, 100]]), np.array([[40, 0], [40, 100]])],
        [np.array([[0, 0], [100, 0]]), np.array([[0, 40], [100, 40]])],
        [np.array([[0, 50], [100, 50]]), np.array([[50, 0], [50, 100]])],
    ],
    ids=["level line", "dot", "upright bars", "level bars", "cross"],
)
def test_bare_marks_are_no_digits(shipped, strokes):
    assert not shipped.is_digit(frame_strokes(strokes))


def test_noise_is_no_digit(shipped):
    rng = np.random.default_rng(0)
    assert shipped.flagged(rng.integers(0, 256, (50, 28, 28), dtype=np.uint8)) == 1
    assert not shipped.is_digit(frame_picture(rng.integers(0, 256, (60, 60), dtype=np.uint8)))


def test_its_file_is_small():
    assert (ROOT / "models" / "detector.safetensors").stat().st_size < 200_000


# Its training and its file


@pytest.fixture
def toy(tmp_path):
    """A few drawings of each digit."""
    rng = np.random.default_rng(0)
    strokes = [[rng.uniform(0, 100, (8, 2)), rng.uniform(0, 100, (5, 2))] for _ in range(30)]
    toy = drawings.Drawings(strokes, np.arange(30) % 10, np.full(30, 1))
    drawings.save_drawings(tmp_path / "toy.npz", toy)
    return tmp_path / "toy.npz"


def test_a_tiny_training_runs_end_to_end(script, toy, monkeypatch):
    monkeypatch.setattr(train_detector, "STEPS", 3)
    words = ["--dataset", "digits", "--limit", 60, "--drawings", toy, "--conv-channels", "4,8", "--epochs", 2]
    words += ["--nondigits", 2, "--copies", 1]
    done = script("train_detector.py", *words, "--output", "d.safetensors")
    assert "Flagged as no digit" in done.stdout
    model = Detector.load(script.folder / "d.safetensors")
    assert model.config.conv_channels == (4, 8)
    assert model.trained_on["config"]["epochs"] == 2
    script("train_detector.py", *words, "--quiet", "--output", "again.safetensors")
    again = Detector.load(script.folder / "again.safetensors")
    assert all((again.arrays()[name] == array).all() for name, array in model.arrays().items())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--epochs", "0"), "wanted epochs from 1"),
        (("--drawings", "nowhere.npz"), "nowhere.npz"),
        (("--flagged", "2"), "wanted flagged from 0"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(script, words, said):
    assert said in script("train_detector.py", "--dataset", "digits", "--limit", 60, *words, status=2).stderr


def test_calibration_flags_no_more_than_it_may(random_images):
    model = Detector(**TINY)
    sets = [np.random.default_rng(seed).integers(0, 256, (50, 28, 28), dtype=np.uint8) for seed in (1, 2)]
    before = model.predict_proba(random_images)
    model.calibrate(sets, 0.1)
    assert max(map(model.flagged, sets)) == pytest.approx(0.1)
    assert model.predict_proba(random_images) == pytest.approx(before, abs=1e-5)


def test_one_image_gets_the_answer_that_it_gets_in_a_batch(random_images):
    model = Detector(**TINY)
    probabilities = model.digit_probability(random_images)
    assert probabilities.shape == (len(random_images),)
    assert model.digit_probability(random_images[0]) == pytest.approx(probabilities[0], abs=1e-6)
    assert model.is_digit(random_images[0]) == (probabilities[0] >= 0.5)
    with pytest.raises(ValueError, match="uint8"):
        model.is_digit(random_images[0].astype(float))


def test_the_file_says_what_was_saved(tmp_path, random_images):
    model = Detector(**TINY)
    model.save(tmp_path / "d.safetensors")
    loaded = Detector.load(tmp_path / "d.safetensors")
    np.testing.assert_allclose(
        loaded.digit_probability(random_images), model.digit_probability(random_images), atol=1e-5
    )


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    with pytest.raises(ModelFileError, match="no model file"):
        Detector.load(path)
    Detector(**TINY).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-10], whole[:-4] + b"\0\0\0\1", b"nothing", b""):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"d\.safetensors"):
            Detector.load(path)
    path.write_bytes(whole)
    arrays, header = read_arrays(path)
    for changed in ({"kind": "ann"}, {"config": {"conv_channels": [4096, 4096]}}, {"config": {"epochs": 3}}):
        write_arrays(path, arrays, {**header, **changed})
        with pytest.raises(ModelFileError):
            Detector.load(path)


def test_weights_that_overflow_flag_nothing(random_images):
    model = Detector(**TINY)
    model.set_arrays({name: np.full_like(array, 3e38) for name, array in model.arrays().items()})
    assert model.is_digit(random_images[0])


# On the command line of predict.py


@pytest.fixture
def picture(tmp_path):
    canvas = np.full((100, 100), 255, np.uint8)
    canvas[48:53, 10:90] = 0  # a level line
    Image.fromarray(canvas).save(tmp_path / "line.png")
    return str(tmp_path / "line.png")


def test_a_picture_of_no_digit_is_said_to_be_none(shipped, picture, capsys):
    predict.main([picture])
    assert capsys.readouterr().out.startswith(f"{picture}: not a digit? Softmax ")


def test_without_a_detector_the_answers_stand(picture, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(predict, "find_model", lambda kind: ROOT / "models" / f"{kind}.safetensors")
    elsewhere = tmp_path / "detector.safetensors"
    find = predict.find_model
    monkeypatch.setattr(predict, "find_model", lambda kind: elsewhere if kind == "detector" else find(kind))
    assert predict.load_detector() is None
    predict.main([picture])
    assert capsys.readouterr().out.startswith(f"{picture}: Softmax ")
    elsewhere.write_bytes(b"nothing")
    with pytest.raises(InputError):
        predict.load_detector()
    predict.main([picture])
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{picture}: Softmax ")
    assert len(printed.err.splitlines()) == 1
