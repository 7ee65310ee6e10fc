"""The interface and the model file, for every model."""

from __future__ import annotations

import json
import pickle
import resource

from ann import ANN
from classifier import ModelFileError
from softmax import Softmax
from svm import SVM
from toolkit.files import read_arrays, write_arrays

import numpy as np
import pytest
from safetensors.numpy import save


def test_probabilities_and_predictions_agree(model, digits_validation):
    probabilities = model.predict_proba(digits_validation.images)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (len(digits_validation), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities >= 0).all()
    predicted = model.predict(digits_validation.images)
    assert predicted.dtype == np.int64
    np.testing.assert_array_equal(predicted, probabilities.argmax(axis=1))
    assert (predicted == digits_validation.labels).mean() > 0.8


def test_one_image_gives_an_int(model, digits_validation):
    digit = model.predict(digits_validation.images[0])
    assert type(digit) is int
    assert model.predict_proba(digits_validation.images[0]).shape == (10,)
    assert digit == model.predict(digits_validation.images[:1])[0]


def test_one_image_and_a_batch_give_the_same_probabilities(model, digits_validation):
    alone = np.stack([model.predict_proba(image) for image in digits_validation.images[:20]])
    np.testing.assert_allclose(alone, model.predict_proba(digits_validation.images[:20]), atol=1e-5)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((27, 28), np.uint8), r"got shape \(27, 28\)"),
        (np.zeros((1, 1, 28, 28), np.uint8), r"got shape \(1, 1, 28, 28\)"),
        (np.zeros(784, np.uint8), r"got shape \(784,\)"),
        (np.zeros((0, 28, 28), np.uint8), "empty batch"),
        (np.zeros((28, 28), np.float32), "dtype float32"),
        (np.full((28, 28), np.nan), "NaN"),
        (np.zeros((28, 28), bool), "dtype bool"),
        ([[0] * 28] * 28, "got list"),
        (None, "got NoneType"),
    ],
)
def test_wrong_images_are_refused(model, images, said):
    for method in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=said) as caught:
            method(images)
        assert "wanted uint8 images of shape (28, 28)" in str(caught.value)


def test_images_are_not_changed(model, random_images):
    before = random_images.copy()
    model.predict(random_images)
    np.testing.assert_array_equal(random_images, before)


def test_a_saved_model_is_bit_for_bit_the_same(model, tmp_path, random_images, digits_validation):
    model.trained_on = {"images": "digits/train", "seed": 0}
    model.metrics = {"accuracy": 0.5}
    model.save(tmp_path / "model.safetensors")
    again = type(model).load(tmp_path / "model.safetensors")
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    for images in (random_images, digits_validation.images, random_images[0]):
        # NumPy and PyTorch round differently.
        np.testing.assert_allclose(again.predict_proba(images), model.predict_proba(images), atol=1e-5)
    assert (again.config, again.trained_on, again.metrics) == (model.config, model.trained_on, model.metrics)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_file_cut_short_is_refused(model, tmp_path):
    model.save(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    cut = tmp_path / "cut"
    for length in np.linspace(0, len(content) - 1, 20).astype(int):
        cut.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match="cut is damaged"):
            type(model).load(cut)


@pytest.mark.parametrize("reader", [Softmax, ANN, SVM])
def test_a_model_of_another_kind_is_refused(model, reader, tmp_path):
    model.save(tmp_path / "model")
    if reader.kind != model.kind:
        with pytest.raises(ModelFileError, match=f"of kind '{model.kind}', not '{reader.kind}'"):
            reader.load(tmp_path / "model")


def test_wrong_shapes_types_and_numbers_are_refused(model, tmp_path):
    path = tmp_path / "model"
    model.save(path)
    arrays, header = read_arrays(path)
    for name, array in arrays.items():
        spoilt = {
            "a column more": np.zeros([*array.shape, 2], array.dtype),
            "missing": None,
        }
        if array.size and np.issubdtype(array.dtype, np.floating):
            spoilt["NaN"] = np.full_like(array, np.nan)
        for what, value in spoilt.items():
            changed = {key: kept for key, kept in {**arrays, name: value}.items() if kept is not None}
            write_arrays(path, changed, header)
            # Older files have no decoder. A file that has lost its own is not the one that was saved.
            lost = (name, what) == ("decoder", "missing")
            said = "is damaged" if lost else "does not fit its own configuration"
            with pytest.raises(ModelFileError, match=said):
                type(model).load(path)
    write_arrays(path, {**arrays, "further": np.zeros(3)}, header)
    with pytest.raises(ModelFileError, match="does not fit"):
        type(model).load(path)


def test_a_damaged_header_is_refused(softmax_model, tmp_path):
    path = tmp_path / "model"
    arrays = softmax_model.arrays()
    header = {"format_version": 1, "kind": "softmax", "config": {}, "trained_on": {}, "metrics": {}}
    cases = [
        ({"digits": "{"}, "lacks our header"),
        ({"digits": "[]"}, "not a JSON object"),
        ({"other": "{}"}, "lacks our header"),
        ({"digits": json.dumps({**header, "format_version": 2})}, "version 2"),
        ({"digits": json.dumps({**header, "config": None})}, "'config'"),
        ({"digits": json.dumps({**header, "config": {"surprise": 1}})}, "does not fit"),
    ]
    for metadata, said in cases:
        path.write_bytes(save(arrays, metadata=metadata))
        with pytest.raises(ModelFileError, match=said):
            Softmax.load(path)
    path.write_bytes(save(arrays, metadata={"digits": json.dumps(header)}))
    Softmax.load(path)


class Bomb:
    """Runs code when it is unpickled."""

    went_off = False

    def __reduce__(self):
        return (setattr, (Bomb, "went_off", True))


@pytest.mark.parametrize("reader", [Softmax, ANN, SVM])
def test_a_pickle_is_refused_and_runs_nothing(reader, tmp_path):
    path = tmp_path / "model.safetensors"
    Bomb.went_off = False
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelFileError, match="damaged or is not a model file"):
        reader.load(path)
    assert not Bomb.went_off
    pickle.loads(path.read_bytes())
    assert Bomb.went_off  # the file was dangerous


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ModelFileError, match="there is no model file"):
            Softmax.load(path)


def test_a_crash_while_saving_leaves_the_old_file_whole(softmax_model, tmp_path, monkeypatch):
    path = tmp_path / "model"
    softmax_model.save(path)
    before = path.read_bytes()

    def crash(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(OSError, match="the disk is full"):
        Softmax().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_flipped_bit_is_noticed(model, tmp_path):
    path = tmp_path / "model"
    model.save(path)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for place in np.linspace(start, len(content) - 1, 7).astype(int):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match="its arrays are not those that were saved"):
            type(model).load(path)


def test_a_file_that_asks_for_a_huge_network_is_refused_before_it_is_built(tmp_path):
    """Its weights would take 19 GB; its header and no array take nothing."""
    path = tmp_path / "model"
    small = ANN(conv_channels=[4])
    small.save(path)
    arrays, header = read_arrays(path)
    header["config"] |= {"conv_channels": [4096] * 4, "convs_per_stage": 8, "kernel_size": 11}
    write_arrays(path, arrays, header)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match="does not fit"):
        ANN.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    header["config"] |= {"convs_per_stage": 10**9}
    write_arrays(path, arrays, header)
    with pytest.raises(ModelFileError, match="wanted convs_per_stage from 1 to 8"):
        ANN.load(path)


def test_weights_that_overflow_give_valid_probabilities(model, tmp_path, digits_validation):
    arrays, path = model.arrays(), tmp_path / "model"
    name = max(arrays, key=lambda name: arrays[name].size)
    huge = type(model)(**model.config.values())
    huge.set_arrays({**arrays, name: np.full_like(arrays[name], np.finfo(arrays[name].dtype).max / 2)})
    huge.save(path)
    with np.errstate(all="ignore"):
        probabilities = type(model).load(path).predict_proba(digits_validation.images[:20])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("metrics", {"unsure_below": "0.9"}),
        ("metrics", {"unsure_below": 7}),
        ("metrics", {"unsure_below": None}),
        ("trained_on", {"count": "many"}),
        ("trained_on", {"config": 3}),
    ],
)
def test_an_entry_of_another_type_is_refused_when_the_file_is_read(softmax_model, tmp_path, part, entry):
    path = tmp_path / "model"
    softmax_model.save(path)
    arrays, header = read_arrays(path)
    write_arrays(path, arrays, {**header, part: entry})
    with pytest.raises(ModelFileError, match=f"damaged: its '({next(iter(entry))}|{part})'"):
        Softmax.load(path)
