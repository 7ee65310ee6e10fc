"""The softmax classifier against finite differences and scikit-learn."""

from __future__ import annotations

import train_softmax
from conftest import silent_run
from softmax import Softmax, loss_and_gradient
from toolkit.features import pixels

import numpy as np
from sklearn.linear_model import LogisticRegression


def test_softmax_of_large_logits_is_finite():
    model = Softmax()
    model.biases = np.array([1e4, 1e4, *[-1e4] * 8], np.float32)
    np.testing.assert_allclose(model.predict_proba(np.zeros((28, 28), np.uint8)), [0.5, 0.5, *[0] * 8])


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    weights, biases = rng.normal(size=(784, 10)) * 0.1, rng.normal(size=10)
    inputs, labels = rng.random((5, 784)), rng.integers(0, 10, 5)
    _, by_weights, by_biases = loss_and_gradient(weights, biases, inputs, labels, weight_decay=0.3)
    step = 1e-6
    for place in [(0, 0), (300, 4), (783, 9)]:
        nudge = np.zeros_like(weights)
        nudge[place] = step
        above = loss_and_gradient(weights + nudge, biases, inputs, labels, weight_decay=0.3)[0]
        below = loss_and_gradient(weights - nudge, biases, inputs, labels, weight_decay=0.3)[0]
        np.testing.assert_allclose((above - below) / (2 * step), by_weights[place], rtol=1e-5)
    for digit in range(10):
        nudge = np.eye(10)[digit] * step
        above = loss_and_gradient(weights, biases + nudge, inputs, labels, weight_decay=0.3)[0]
        below = loss_and_gradient(weights, biases - nudge, inputs, labels, weight_decay=0.3)[0]
        np.testing.assert_allclose((above - below) / (2 * step), by_biases[digit], rtol=1e-5)


def test_the_solution_is_that_of_scikit_learn(digits_train):
    weight_decay, inputs = 0.01, pixels(digits_train.images).astype(np.float64)
    # scikit-learn sums the loss over the images and weighs it by C; ours is a mean.
    theirs = LogisticRegression(C=1 / (weight_decay * len(digits_train)), tol=1e-8, max_iter=5000)
    theirs.fit(inputs, digits_train.labels)

    def measure(weights, biases):
        return loss_and_gradient(
            weights.astype(float), biases.astype(float), inputs, digits_train.labels, weight_decay
        )

    best, *gradient = measure(theirs.coef_.T, theirs.intercept_)
    for part in gradient:
        np.testing.assert_allclose(part, 0, atol=1e-6)
    config = train_softmax.Config(weight_decay=weight_decay, epochs=200, batch_size=60, learning_rate=0.4)
    ours = train_softmax.train(digits_train, None, config, seed=0, run=silent_run())[0]
    reached = measure(ours.weights, ours.biases)[0]
    assert best <= reached < best * 1.002
    agree = ours.predict(digits_train.images) == theirs.predict(inputs)
    assert agree.mean() > 0.995
