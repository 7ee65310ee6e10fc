"""The SVM's own decision function against scikit-learn's, its features, its calibration."""

from __future__ import annotations

import copy

from classifier import InputError
from svm import SVM
from toolkit import features
from toolkit.certainty import calibrate

import numpy as np
import pytest
from sklearn.svm import SVC


@pytest.mark.parametrize(
    "config",
    [
        {"kernel": "rbf", "gamma": 1.0, "C": 3.0, "pca": 0},
        {"kernel": "rbf", "gamma": 0.02, "C": 5.0, "features": "pixels", "pca": 0},
        {"kernel": "linear", "features": "deslanted", "C": 0.1, "pca": 0},
        {"kernel": "poly", "degree": 2, "gamma": 0.5, "coef0": 1.0},
        {"kernel": "sigmoid", "gamma": 0.2, "coef0": -0.5},
        {"kernel": "rbf", "gamma": 0.05, "features": "deslanted", "pca": 30},
    ],
)
def test_decisions_are_those_of_scikit_learn(config, digits_train, digits_validation):
    ours = SVM(**config).fit(digits_train.images, digits_train.labels, jobs=1)
    inputs = ours._features(digits_train.images)
    known = {name: getattr(ours.config, name) for name in ("kernel", "C", "gamma", "degree", "coef0")}
    theirs = SVC(**known, decision_function_shape="ovo").fit(inputs, digits_train.labels)
    expected = theirs.decision_function(ours._features(digits_validation.images))
    np.testing.assert_allclose(ours.decision_function(digits_validation.images), expected, atol=2e-3)
    assert len(ours.support_vectors) == len(theirs.support_)


def test_gamma_scale_is_scikit_learns(digits_train):
    machine = SVM(gamma="scale", features="pixels", pca=0).fit(
        digits_train.images, digits_train.labels, jobs=1
    )
    assert machine.config.gamma == pytest.approx(
        1 / (784 * features.pixels(digits_train.images).var()), rel=1e-4
    )


def test_pairs_fitted_in_parallel_give_the_same_machine(digits_train):
    alone = SVM().fit(digits_train.images, digits_train.labels, jobs=1)
    together = SVM().fit(digits_train.images, digits_train.labels, jobs=2)
    for name, array in alone.arrays().items():
        np.testing.assert_array_equal(array, together.arrays()[name])


def test_a_file_stores_the_coefficients_of_a_digits_own_pairs_and_older_ones_those_of_all(digits_train):
    machine = SVM(pca=20).fit(digits_train.images, digits_train.labels, jobs=1)
    arrays, again = machine.arrays(), SVM(pca=20)
    assert arrays["coefficients"].shape == (len(machine.support_vectors), 9)
    older = {name: array for name, array in arrays.items() if name != "support_digits"}
    for stored in (arrays, {**older, "coefficients": machine.coefficients}):
        again.set_arrays(stored)
        np.testing.assert_array_equal(again.coefficients, machine.coefficients)
    with pytest.raises(ValueError, match="belongs to no digit"):
        again.set_arrays({**arrays, "support_digits": arrays["support_digits"] + np.uint8(10)})


def test_calibration_lowers_the_log_loss_and_changes_no_answer(digits_train, digits_validation):
    machine = SVM().fit(digits_train.images, digits_train.labels, jobs=1)
    rows = np.arange(len(digits_validation))

    def log_loss() -> float:
        return -np.log(machine.predict_proba(digits_validation.images)[rows, digits_validation.labels]).mean()

    before, answers = log_loss(), machine.predict(digits_validation.images)
    calibrate(machine, digits_validation.images, digits_validation.labels)
    best = log_loss()
    assert best < before
    np.testing.assert_array_equal(machine.predict(digits_validation.images), answers)
    for factor in (0.9, 1.1):
        machine.temperature *= factor
        assert log_loss() >= best
        machine.temperature /= factor


@pytest.mark.parametrize(("name", "length"), [(name, entry[1]) for name, entry in features.FEATURES.items()])
def test_features_have_their_length_and_are_finite(name, length, random_images):
    blank = np.zeros((2, 28, 28), np.uint8)
    for images in (random_images, blank, 255 - blank):
        values = features.extract(images, name)
        assert values.shape == (len(images), length)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def test_deslanting_centres_a_digit_and_sets_it_upright():
    y, x = np.mgrid[:28, :28]
    slanted = (np.clip(2 - np.abs(x - 11 - 0.4 * (y - 15)), 0, 1) * (np.abs(y - 15) <= 8) * 255).astype(
        np.uint8
    )
    upright = features.deslant(slanted[None])[0]
    mean_x, mean_y = (
        upright.sum(axis=0) @ np.arange(28),
        upright.sum(axis=1) @ np.arange(28),
    ) / upright.sum()
    assert mean_x == pytest.approx(13.5, abs=0.05)
    assert mean_y == pytest.approx(13.5, abs=0.05)
    covariance = (upright * (x - mean_x) * (y - mean_y)).sum() / upright.sum()
    assert covariance == pytest.approx(0, abs=0.3)  # before it was about 9


def test_oriented_gradients_do_not_change_with_the_place(digits_train):
    image = digits_train.images[0]
    shrunk = np.zeros((28, 28), np.uint8)
    shrunk[6:20, 6:20] = image[::2, ::2]
    moved = np.roll(shrunk, (3, -2), axis=(0, 1))
    np.testing.assert_allclose(features.hog(shrunk[None]), features.hog(moved[None]), atol=1e-4)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kernel": "RBF"}, "known are linear, poly, rbf, sigmoid"),
        ({"features": "sift"}, "known are pixels, deslanted, hog"),
        ({"C": 0.0}, "C above 0"),
        ({"C": float("nan")}, "C above 0"),
        ({"gamma": -1.0}, "gamma above 0"),
        ({"gamma": "scales"}, "wanted a number as gamma; got 'scales'"),
        ({"degree": 0}, "degree from 1"),
        ({"coef0": float("inf")}, "wanted coef0 to be finite"),
        ({"pca": 1381}, "pca from 0 to 1380"),
    ],
)
def test_a_wrong_machine_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        SVM(**config)


def test_half_precision_halves_the_support_vectors_and_keeps_the_answers(
    svm_model, digits_validation, tmp_path
):
    half = SVM(**{**svm_model.config.values(), "half": True})
    arrays = svm_model.arrays()
    half.set_arrays({**arrays, "support_vectors": arrays["support_vectors"].astype(np.float16)})
    assert half.arrays()["support_vectors"].nbytes * 2 == arrays["support_vectors"].nbytes
    probabilities = half.predict_proba(digits_validation.images)
    np.testing.assert_allclose(probabilities, svm_model.predict_proba(digits_validation.images), atol=0.01)
    half.save(tmp_path / "half")
    read = SVM.load(tmp_path / "half")
    np.testing.assert_array_equal(read.predict_proba(digits_validation.images), probabilities)


def test_a_missing_digit_is_named(digits_train):
    with pytest.raises(InputError, match=r"none of \[3, 7\]"):
        SVM().fit(digits_train.images, np.where(np.isin(digits_train.labels, [3, 7]), 1, digits_train.labels))


def test_its_support_vectors_stand_for_all_images(svm_model, digits_train, digits_validation):
    again = copy.deepcopy(svm_model).refit(digits_train.images[:1], digits_train.labels[:1], jobs=1)
    images = digits_validation.images
    assert again.decision_function(images) == pytest.approx(svm_model.decision_function(images), abs=0.02)
