"""Explanations mean what they say: sums, signs, and what covering a part really does."""

from __future__ import annotations

from ann import ANN
from classifier import Classifier
from svm import PAIRS, SVM
from toolkit import features
from toolkit.painting import LANGUAGES, TEXTS
from toolkit.report.texts import Texts
from toolkit.why import PATCH, Part, cover

import numpy as np
import pytest


@pytest.fixture(scope="session")
def images(digits_validation):
    """One image of each digit."""
    labels = digits_validation.labels
    return digits_validation.images[[int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]]


def test_every_model_explains_itself_in_lines_and_small_pictures(model, images):
    window_texts = [Texts(language, TEXTS) for language in LANGUAGES]
    for image in [*images, np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)]:
        parts = model.explain(image)
        assert parts
        for part in parts:
            assert isinstance(part, Part)
            for texts in window_texts:
                assert part.text in texts.sentences
                assert part.say(texts).endswith(".")
                assert "\n" not in part.say(texts)
            for picture in part.pictures:
                assert picture.values.dtype == np.float32
                assert picture.values.ndim == 2
                assert max(picture.values.shape) <= 28
                assert np.isfinite(picture.values).all()
                assert part.signed or not picture.digit or picture.values.min() >= 0
    with pytest.raises(ValueError, match="28"):
        model.explain(images[0].astype(float))


def test_what_cannot_explain_says_nothing(images):
    class Silent(Classifier):
        kind, name = "silent", "Silent"

        def probabilities(self, images):
            return None

        def arrays(self):
            return {}

        def set_arrays(self, arrays):
            pass

        def explanation(self, image, digit):
            raise AssertionError("there is no answer to explain")

    assert Silent().explain(images[0]) == []


def test_softmax_contributions_add_up_to_the_logit(softmax_model, images):
    for image in images:
        digit = softmax_model.predict(image)
        (products,), (weights,) = (part.pictures for part in softmax_model.explain(image))
        logits = features.pixels(image[None])[0] @ softmax_model.weights + softmax_model.biases
        assert products.digit == weights.digit == digit == logits.argmax()
        assert products.weight == pytest.approx(logits[digit], rel=1e-4)
        assert products.values.sum() + softmax_model.biases[digit] == pytest.approx(logits[digit], rel=1e-4)
        assert not products.values[image == 0].any(), "paper counts for nothing"
        # Without the ink that spoke most for it, the digit's score falls by exactly that.
        y, x = np.unravel_index(products.values.argmax(), (28, 28))
        less = image.copy()
        less[y, x] = 0
        after = features.pixels(less[None])[0] @ softmax_model.weights[:, digit] + softmax_model.biases[digit]
        assert logits[digit] - after == pytest.approx(products.values[y, x], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "pca": 0},
        {"features": "pixels", "gamma": 0.02, "pca": 0},
    ],
)
def test_svm_contributions_add_up_to_the_decisions(config, digits_train, images):
    machine = SVM(**config).fit(digits_train.images, digits_train.labels, jobs=1)
    for image in images:
        digit = machine.predict(image)
        decisions = machine.decision_function(image[None])[0] - machine.intercepts
        expected = sum(
            decisions[pair] * (1 if first == digit else -1)
            for pair, (first, second) in enumerate(PAIRS)
            if digit in (first, second)
        )
        assert machine.contributions(image, digit).sum() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_svm_shows_the_nearest_examples_for_and_against(svm_model, digits_train, images):
    # Which digit a support vector is an example of, known from the training set.
    inputs = svm_model._features(digits_train.images)
    distances = ((svm_model.support_vectors[:, None, :] - inputs[None]) ** 2).sum(axis=2)
    known = digits_train.labels[distances.argmin(axis=1)]
    np.testing.assert_array_equal(svm_model.support_digits(), known)
    for image in images:
        digit = svm_model.predict(image)
        own, others = svm_model.explain(image)
        counts = svm_model.contributions(image, digit)
        nearest = np.linalg.norm(
            svm_model.support_vectors - svm_model._features(image[None]), axis=1
        ).argsort()
        for part, spoke in ((own, counts[nearest] > 0), (others, counts[nearest] < 0)):
            assert [picture.weight for picture in part.pictures] == counts[nearest][spoke][:6].tolist()
        assert {picture.digit for picture in own.pictures} == {digit}
        assert digit not in {picture.digit for picture in others.pictures}


def test_without_the_examples_that_spoke_for_it_the_answer_changes(svm_model, images):
    for image in images:
        digit = svm_model.predict(image)
        spoke = svm_model.contributions(image, digit) > 0
        rest = SVM(**svm_model.config.values())
        rest.set_arrays(svm_model.arrays())
        rest.coefficients = rest.coefficients * ~spoke[:, None]
        assert rest.predict_proba(image)[digit] < svm_model.predict_proba(image)[digit]


@pytest.mark.parametrize(
    "config", [{}, {"features": "deslanted", "pca": 30}, {"features": "pixels", "pca": 0}]
)
def test_svm_draws_features_as_the_digits_that_they_come_from(config, digits_train, digits_validation):
    machine = SVM(**config).fit(digits_train.images, digits_train.labels, jobs=1)
    unseen = digits_validation.images[:200]
    name = "pixels" if config.get("features") == "pixels" else "deslanted"
    wanted = features.extract(unseen, name).reshape(-1, 28, 28)
    error = ((machine.draw(machine._features(unseen)) - wanted) ** 2).mean()
    assert error < 0.3 * ((wanted - wanted.mean(axis=0)) ** 2).mean(), "it explains most of what differs"


def test_an_svm_file_without_a_decoder_explains_without_pictures(svm_model, images, tmp_path):
    older = SVM(**svm_model.config.values())
    older.set_arrays({name: array for name, array in svm_model.arrays().items() if name != "decoder"})
    for part, same in zip(older.explain(images[3]), svm_model.explain(images[3]), strict=True):
        for picture, drawn in zip(part.pictures, same.pictures, strict=True):
            assert not picture.values.any()
            assert drawn.values.any()
            assert picture[1:] == drawn[1:]
    with pytest.raises(ValueError, match="decoder does not fit"):
        older.set_arrays({**svm_model.arrays(), "decoder": np.zeros((3, 784), np.float16)})
    assert older.parameters() == svm_model.parameters()


def test_covering_the_most_important_part_lowers_the_probability(ann_model, images):
    for image in images:
        digit = ann_model.predict(image)
        falls, without = cover(image, digit, ann_model.predict_proba)
        before = ann_model.predict_proba(image)[digit]
        (map_,), (less,) = falls.pictures, without.pictures
        covered = np.rint(less.values * 255).astype(np.uint8)
        after = ann_model.predict_proba(covered)
        assert less.weight > 0
        assert before - after[digit] == pytest.approx(less.weight, abs=1e-4)
        assert less.digit == after.argmax()
        assert np.count_nonzero(covered != image) <= PATCH**2
        # The part that the map shows as most important counts more than the mean part does.
        y, x = (
            int(np.clip(place - PATCH // 2, 0, 22))
            for place in np.unravel_index(map_.values.argmax(), (28, 28))
        )
        there = image.copy()
        there[y : y + PATCH, x : x + PATCH] = 0
        assert ann_model.predict_proba(there)[digit] < before
        far = np.ones((28, 28), bool)  # from any ink: covering it changes nothing
        for row, column in np.argwhere(image):
            far[max(0, row - PATCH) : row + PATCH, max(0, column - PATCH) : column + PATCH] = False
        assert not map_.values[far].any()


def test_cover_finds_the_only_part_that_matters():
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 12:16] = 255

    def ask(batch):
        """Answer 1 as long as there is ink in the rows 6 to 9, else 7."""
        there = batch[:, 6:10].any(axis=(1, 2)).astype(np.float32)
        return np.stack(
            [there if digit == 1 else 1 - there if digit == 7 else 0 * there for digit in range(10)], 1
        )

    falls, without = cover(image, 1, ask)
    rows = falls.pictures[0].values.max(axis=1)
    assert set(np.flatnonzero(rows == rows.max())) <= set(range(4, 12))
    assert not rows[14:].any()
    assert (without.pictures[0].digit, without.pictures[0].weight) == (7, 1.0)
    assert not without.pictures[0].values[6:10].any()
    assert cover(np.zeros((28, 28), np.uint8), 1, ask) == []


@pytest.mark.parametrize(
    ("config", "sides"),
    [
        ({"conv_channels": (4, 6), "convs_per_stage": 1, "pooling": "max"}, [(4, 14), (6, 14)]),
        ({"conv_channels": (4, 6, 8), "pooling": "average", "head": "max"}, [(4, 14), (6, 7), (8, 7)]),
        (
            {"conv_channels": (4, 6), "convs_per_stage": 2, "pooling": "stride", "head": "average"},
            [(4, 28), (6, 14)],
        ),
        (
            {"conv_channels": (4,), "pooling": "max", "batch_norm": False, "hidden": (8,), "dropout": 0.5},
            [(4, 28)],
        ),
        ({"conv_channels": (), "hidden": (8,)}, []),
    ],
)
def test_feature_maps_are_what_each_stage_hands_on(config, sides, images):
    import torch

    network = ANN(**config)
    maps = network.feature_maps(images[5])
    assert [one.shape for one in maps] == [(channels, side, side) for channels, side in sides]
    if maps:
        assert min(one.min() for one in maps) >= 0, "ReLU is the last layer of a stage"
        # The rest of the network makes the answer out of the last maps.
        layers = list(network.network)
        after = max(i for i, layer in enumerate(layers) if isinstance(layer, torch.nn.Conv2d)) + 1
        after = next(i for i in range(after, len(layers)) if isinstance(layers[i], torch.nn.ReLU)) + 1
        with torch.inference_mode():
            logits = torch.nn.Sequential(*layers[after:])(torch.from_numpy(maps[-1])[None])
        np.testing.assert_allclose(logits.softmax(1).numpy()[0], network.predict_proba(images[5]), rtol=1e-4)
