"""Damaged model files: each gives probabilities, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ann import ANN
from classifier import Classifier, ModelFileError, best_guess
from softmax import Softmax
from svm import SVM
from toolkit import evaluation, files

import harness
import numpy as np
from harness import Case, damage, damage_array, damage_json, to_json


def small_models(rng: np.random.Generator) -> dict[str, Classifier]:
    """Return a small model of each kind and shape, with random numbers."""
    machine, features = SVM(features="pixels", pca=0), SVM(features="hog", pca=5)
    for model, length in ((machine, 784), (features, 5)):
        vectors = rng.normal(size=(20, length)).astype(np.float32)
        model._set_machine(vectors, rng.normal(size=(20, 45)), rng.normal(size=45))
    softmax = Softmax()
    softmax.weights = rng.normal(size=(784, 10)).astype(np.float32)
    networks = [ANN(conv_channels=[2, 3], hidden=[5]), ANN(conv_channels=[], hidden=[4], batch_norm=False)]
    models: list[Classifier] = [softmax, machine, features, *networks]
    for model in models:
        model.trained_on = {"images": "digits/train", "count": 20, "seed": 0, "config": {"augment": 1.0}}
        model.metrics = {"accuracy": 0.5, "unsure_below": 0.7, "per_class": {"recall": [0.5] * 10}}
    return {f"{model.kind}-{number}": model for number, model in enumerate(models)}


def damage_model(content: bytes, path: Path, rng: np.random.Generator) -> bytes:
    """Damage the bytes, the header or the arrays of a model file."""
    kind = rng.random()
    if kind < 0.2:
        return damage(content, rng)
    if kind < 0.4:  # as in older files, which have no checksum: damaged numbers are not noticed
        length = content.index(b"sha256")
        old = content[:length] + content[length:].replace(b"sha256", b"sha_no", 1)
        return damage(old, rng)
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    if kind < 0.55:  # what safetensors reads
        text = to_json(damage_json(header, rng)).encode()
        return len(text).to_bytes(8, "little") + text + content[8 + length :]
    own = json.loads(header["__metadata__"]["digits"])
    if kind < 0.75:  # what Classifier.load reads
        header["__metadata__"]["digits"] = to_json(damage_json(own, rng))
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + content[8 + length :]
    arrays, own = files.read_arrays(path)
    for name in rng.choice(list(arrays), size=int(rng.integers(1, 1 + len(arrays)))):
        arrays[str(name)] = damage_array(arrays[str(name)], rng)
    if rng.random() < 0.1:
        arrays.pop(str(rng.choice(list(arrays))))
    if rng.random() < 0.3:
        own["config"] = damage_json(own["config"], rng)
    own["sha256"] = files.checksum(arrays)
    try:
        files.write_arrays(path.with_suffix(".damaged"), arrays, own)
    except (
        TypeError,
        ValueError,
        UnicodeError,
    ):  # a type or text that cannot be written: other damage instead
        return damage(content, rng)
    return path.with_suffix(".damaged").read_bytes()


def answer(model: type[Classifier], path: Path, images: np.ndarray) -> None:
    """Load a model as predict.py and test_*.py do, and check all of its answers."""
    classifier = model.load(path)
    probabilities = classifier.predict_proba(images)
    assert probabilities.shape == (len(images), 10)
    assert np.isfinite(probabilities).all(), "probabilities that are not finite"
    assert (probabilities >= 0).all(), "negative probabilities"
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4), "a row does not sum to 1"
    best_guess(probabilities[0], classifier.metrics.get("unsure_below"))
    evaluation._provenance(classifier.trained_on)


def cases(folder: Path, count: int) -> Iterator[Case]:
    """Yield `count` cases for each kind of model file."""
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    images[0] = 0
    models = small_models(np.random.default_rng(0))
    paths = {}
    for name, model in models.items():
        model.save(paths.setdefault(name, folder / f"{name}.safetensors"))
        answer(type(model), paths[name], images)

    def case(name: str, seed: list[int]) -> Callable[[], str]:
        rng = np.random.default_rng(seed)
        target = folder / "mutant.safetensors"
        target.write_bytes(damage_model(paths[name].read_bytes(), paths[name], rng))
        return lambda: harness.refuses(ModelFileError, lambda: answer(type(models[name]), target, images))

    kinds: dict[str, list[str]] = {}
    for name, model in models.items():
        kinds.setdefault(model.kind, []).append(name)
    for number in range(count):
        for position, names in enumerate(kinds.values()):
            name = names[number % len(names)]
            yield f"{name} {number}", case(name, [position, number])


def run(folder: Path, count: int) -> list[str]:
    return harness.run_cases("models", cases(folder, count))
