"""The models that come with the repository: complete, as their page says, small enough."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module

from conftest import ROOT
from predict import CLASSIFIERS

import numpy as np
import pytest

PAGE = (ROOT / "models" / "README.md").read_text()


def part_of(kind: str) -> str:
    """What the page says of one model."""
    return next(part for part in PAGE.split("\n## ") if f"`{kind}.safetensors`" in part.splitlines()[0])


def load(kind: str):
    return getattr(import_module(kind), CLASSIFIERS[kind]).load(ROOT / "models" / f"{kind}.safetensors")


def test_together_they_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "models").glob("*.safetensors")) < 15e6


@pytest.mark.parametrize("kind", [*CLASSIFIERS, "detector"])
def test_each_is_the_one_that_the_page_describes(kind):
    content = (ROOT / "models" / f"{kind}.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in part_of(kind)
    assert f"{len(content) / 1e6:.2f} MB" in part_of(kind)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_each_was_trained_on_everything_and_says_when_it_is_unsure(kind):
    model = load(kind)
    assert model.trained_on["images"] == "mnist/all + pendigits"
    assert model.trained_on["count"] == 60_000 + 2 * 7494
    assert 0 < model.metrics["unsure_below"] <= 1
    assert set(model.metrics["tested"]) == {"mnist", "drawings"}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_each_reaches_what_the_page_says(kind, mnist_dir):
    from toolkit import datasets

    images = datasets.load("test", data=mnist_dir)
    said = re.search(r"\| MNIST, test split \| 10,000 \| (\S+) %", part_of(kind))
    assert said
    accuracy = np.mean(load(kind).predict(images.images) == images.labels)
    # Another processor rounds otherwise: an image or two of the 10,000 may fall to the other side.
    assert 100 * accuracy == pytest.approx(float(said[1]), abs=0.025)
