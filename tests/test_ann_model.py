"""The network's description, its training's choices, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from functools import partial

import ann
import train_ann
from ann import ANN
from classifier import ROOT, InputError
from conftest import silent_run

import numpy as np
import pytest
import torch


def choices_of(config: type, name: str) -> tuple:
    """The values that an option may have."""
    return next(field for field in fields(config) if field.name == name).metadata["choices"]


choices = partial(choices_of, train_ann.Config)


SMALL = {"conv_channels": [4], "convs_per_stage": 1, "epochs": 1, "batch_size": 64, "device": "cpu"}


@pytest.mark.parametrize(
    "config",
    [
        {"conv_channels": [], "hidden": [32]},
        {"conv_channels": [], "hidden": []},
        {"conv_channels": [4, 8, 8, 8], "head": "flatten"},
        {
            "conv_channels": [4, 8],
            "pooling": "average",
            "head": "average",
            "hidden": [16, 16],
            "dropout": 0.3,
        },
        {
            "conv_channels": [4, 8],
            "pooling": "stride",
            "head": "flatten",
            "kernel_size": 5,
            "batch_norm": False,
        },
        {"conv_channels": [4], "convs_per_stage": 3, "kernel_size": 1, "batch_norm": False, "hidden": [8]},
        *({"conv_channels": [4], "activation": name} for name in choices("activation")),
    ],
)
def test_every_description_builds_saves_and_answers(config, random_images, tmp_path):
    model = ANN(**config)
    probabilities = model.predict_proba(random_images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model")
    again = ANN.load(tmp_path / "model").predict_proba(random_images)
    np.testing.assert_allclose(again, probabilities, atol=1e-5)


@pytest.mark.parametrize("pooling", choices_of(ann.Config, "pooling"))
@pytest.mark.parametrize("head", choices_of(ann.Config, "head"))
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("number", range(8))
def test_numpy_and_pytorch_give_the_same_answers(pooling, head, batch_norm, number, random_images):
    description = {
        "conv_channels": [(), (3,), (4, 6), (3, 5, 7), (2, 3, 4, 5)][number % 5],
        "convs_per_stage": 1 + number % 3,
        "kernel_size": (1, 3, 5, 7, 9, 11)[number % 6],
        "activation": choices("activation")[number % 7],
        "hidden": [(), (11,), (9, 8)][number % 3],
        "dropout": 0.3 * (number % 2),
    }
    fast = ANN(**description, pooling=pooling, head=head, batch_norm=batch_norm)
    rng = np.random.default_rng(number)
    arrays = {
        name: (rng.uniform(0.5, 1.5, array.shape) if array.ndim == 1 else array).astype(np.float32)
        for name, array in fast.arrays().items()
    }
    fast.set_arrays(arrays)
    images = random_images[:23]
    scores = fast.scores(images)
    maps = fast.feature_maps(images[0])
    assert "network" not in vars(fast), "PyTorch did nothing"
    np.testing.assert_allclose(scores, fast.logits(ann.to_tensor(images)).numpy(), rtol=1e-4, atol=1e-4)
    assert fast.arrays().keys() == arrays.keys()
    for name, array in fast.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    for one, same in zip(maps, fast.feature_maps(images[0]), strict=True):
        np.testing.assert_array_equal(one, same)


def test_answers_explanations_and_doubts_need_no_pytorch(tmp_path):
    code = """if True:
        import sys, numpy
        import predict
        from toolkit.painting import explain
        image = numpy.zeros((28, 28), numpy.uint8)
        image[4:24, 12:16] = 255
        for kind in predict.CLASSIFIERS:
            model = predict.load(kind)
            assert model.predict(image) == 1
            assert model.explain(image)
            assert model.parameters()
        assert predict.load_detector().is_digit(image)
        assert "torch" not in sys.modules
        model.network
        assert "torch" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_parameters_are_counted():
    # 4 kernels of 3 x 3, a scale and a shift of each channel, and 4 x 10 weights with 10 biases.
    assert ANN(conv_channels=[4], convs_per_stage=1, pooling="max", head="max").parameters() == 36 + 8 + 50


def test_a_stem_is_5_x_5_and_every_stage_halves_the_image():
    network = ANN(conv_channels=[2, 3, 4, 5], pooling="stem").network
    kernels = [(layer.kernel_size[0], layer.stride[0]) for layer in network if hasattr(layer, "kernel_size")]
    assert kernels == [(5, 2), (3, 1)] + [(3, 2), (3, 1)] * 3
    assert network[-1].in_features == 5 * 2 * 2  # 28, 14, 7, 4, 2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"activation": "Relu"}, "known are ReLU, PReLU, LeakyReLU, ELU, GELU, SiLU, Tanh"),
        ({"pooling": "min"}, "known are max, average, stride"),
        ({"head": "min"}, "known are flatten, max, average"),
        ({"kernel_size": 4}, "unknown kernel_size 4; known are 1, 3, 5"),
        ({"dropout": 1.0}, "wanted dropout from 0 to 0.95; got 1.0"),
        ({"conv_channels": [8] * 5}, "at most 4 numbers as conv_channels"),
        ({"conv_channels": [0]}, "conv_channels from 1 to 4096"),
        ({"hidden": [-3]}, "hidden from 1 to 4096"),
        ({"convs_per_stage": 0}, "convs_per_stage from 1 to 8"),
    ],
)
def test_a_wrong_description_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        ANN(**config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"optimizer": "adam"}, "known are SGD, RMSprop, Adam, NAdam, AdamW"),
        ({"loss": "hinge"}, "known are cross-entropy, margin, mse"),
        ({"schedule": "linear"}, "known are one-cycle, cosine, step, constant"),
        ({"device": "gpu"}, "known are auto, cpu, cuda, mps"),
        ({"learning_rate": 0.0}, "wanted learning_rate"),
        ({"epochs": 0}, "wanted epochs"),
        ({"batchsize": 3}, "unknown configuration batchsize"),
    ],
)
def test_a_wrong_training_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        train_ann.Config.read(config)


@pytest.mark.parametrize("optimizer", choices("optimizer"))
@pytest.mark.parametrize("loss", choices("loss"))
def test_every_optimizer_and_loss_learns(optimizer, loss, digits_train):
    config = {
        **SMALL,
        "conv_channels": [],
        "hidden": [32],
        "batch_size": 32,
        "epochs": 6,
        "optimizer": optimizer,
        "loss": loss,
    }
    config["learning_rate"] = {"SGD": 0.1, "RMSprop": 0.0005}.get(optimizer, 0.01)
    run = silent_run()
    train_ann.train(digits_train, None, train_ann.Config(**config), seed=0, run=run)
    assert run.epochs[-1]["train_accuracy"] > 0.7


@pytest.mark.parametrize("schedule", choices("schedule"))
def test_schedules_stay_within_the_highest_rate(schedule):
    rates = [train_ann._rate(schedule, step / 100) for step in range(100)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert min(rates) >= 0
    assert rates[-1] == (1 if schedule == "constant" else pytest.approx(0, abs=0.02))


def test_the_same_seed_trains_the_same_network(digits_train, digits_validation):
    runs = [silent_run() for _ in range(3)]
    config = train_ann.Config(**SMALL, augment=1.0, dropout=0.1)
    models = [
        train_ann.train(digits_train, digits_validation, config, seed=seed, run=run)[0]
        for seed, run in zip((5, 5, 6), runs, strict=True)
    ]
    for name, array in models[0].arrays().items():
        np.testing.assert_array_equal(array, models[1].arrays()[name])
    assert any((array != models[2].arrays()[name]).any() for name, array in models[0].arrays().items())


def test_a_diverging_training_says_so(digits_train):
    wild = {"optimizer": "SGD", "learning_rate": 100.0, "schedule": "constant", "activation": "ELU"}
    config = train_ann.Config(**SMALL, **wild, batch_norm=False)
    with pytest.raises(InputError, match="not finite at epoch 1; try a smaller --learning-rate"):
        train_ann.train(digits_train, None, config, seed=0, run=silent_run())


def test_bfloat16_is_taken_only_on_processors_that_are_faster_with_it(monkeypatch):
    for fast in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda fast=fast: fast, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
        assert train_ann.pick_device(train_ann.Config(device="cpu")) == (torch.device("cpu"), fast)
