"""Corrections without a screen: what is saved, what is counted, and a network that learns from them."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta

import ann
from classifier import InputError
from conftest import ROOT, Script
from svm import SVM
from toolkit import corrections, drawings, finetuning
from toolkit.drawings import Drawings, load_drawings, save_drawings
from toolkit.framing import frame_strokes

import numpy as np
import pytest

ONE = [np.array([[250, 100], [250, 400]], np.int16)]
SEVEN = [np.array([[100, 100], [400, 100], [200, 400]], np.int16)]


def test_a_correction_is_a_recorded_drawing(tmp_path):
    path = tmp_path / "captured" / "corrections.npz"
    corrections.add(path, SEVEN, 7, {"SVM": 7, "ANN": 1})
    corrections.add(path, ONE, 1, {})
    saved = load_drawings(path)
    assert saved.labels.tolist() == [7, 1]
    assert np.array_equal(saved.strokes[0][0], SEVEN[0])
    assert np.array_equal(saved.images, [frame_strokes(SEVEN), frame_strokes(ONE)])
    assert [json.loads(text) for text in saved.said] == [{"SVM": 7, "ANN": 1}, {}]
    assert len(drawings.load_drawn(path)) == 2


def test_a_drawing_that_is_labelled_again_gets_the_new_label(tmp_path):
    path = tmp_path / "corrections.npz"
    corrections.add(path, SEVEN, 1, {"ANN": 7})
    corrections.add(path, ONE, 1, {"ANN": 1})
    together = corrections.add(path, SEVEN, 7, {"ANN": 7})
    assert together.labels.tolist() == load_drawings(path).labels.tolist() == [1, 7]
    assert corrections.tallies(together) == {"ANN": (2, 2)}


def test_two_windows_lose_no_correction(tmp_path):
    path = tmp_path / "corrections.npz"
    code = """
import sys, numpy as np
from pathlib import Path
from toolkit import corrections
for n in range(8):
    corrections.add(Path(sys.argv[1]), [np.array([[n, int(sys.argv[2])], [n, 300]])], n, {"ANN": n})
"""
    words = [sys.executable, "-c", code, str(path)]
    both = [subprocess.Popen([*words, str(number)], cwd=ROOT) for number in (1, 2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert sorted(load_drawings(path).labels) == sorted([*range(8), *range(8)])


def test_a_correction_that_cannot_be_saved_changes_nothing(tmp_path):
    path = tmp_path / "corrections.npz"
    path.write_bytes(b"not ours")
    with pytest.raises(InputError, match="damaged"):
        corrections.add(path, ONE, 1, {})
    assert path.read_bytes() == b"not ours"


def test_only_what_was_drawn_today_is_counted(tmp_path):
    path = tmp_path / "corrections.npz"
    for strokes, label, said in ((ONE, 1, {"ANN": 1, "SVM": 7}), (SEVEN, 7, {"ANN": 7, "SVM": 7})):
        together = corrections.add(path, strokes, label, said)
    assert corrections.tallies(together) == {"ANN": (2, 2), "SVM": (1, 2)}
    assert corrections.tallies(together, datetime.now() - timedelta(days=1)) == {}
    assert corrections.tallies(together, datetime.now() + timedelta(days=1)) == {}


@pytest.mark.parametrize("text", ["", "{", "7", "[]", '{"ANN": "7"}', '{"ANN": null}', "[" * 10_000])
def test_damaged_words_of_classifiers_count_for_nothing(text):
    one = Drawings(
        [ONE],
        np.array([1]),
        np.array(["me"]),
        times=np.array([int(time.time())]),
        said=np.array([text]),
    )
    assert corrections.tallies(one) == {}


def test_a_set_that_was_recorded_otherwise_counts_for_nothing(tmp_path):
    one = Drawings([ONE], np.array([1]), np.array([3]))
    save_drawings(tmp_path / "a.npz", one)
    assert corrections.tallies(load_drawings(tmp_path / "a.npz")) == {}
    together = corrections.add(tmp_path / "a.npz", SEVEN, 7, {"ANN": 7})
    assert corrections.tallies(together) == {"ANN": (1, 1)}


# Fine-tuning

FLAGS = "--dataset", "digits", "--drawings", "corrections.npz"


@pytest.fixture
def learning(tmp_path, ann_model) -> Script:
    """A folder with a model and corrections, in which scripts run."""
    model = copy.copy(ann_model)
    model.metrics = {"temperature": 0.7, "unsure_below": 0.5}
    model.save(tmp_path / "old.safetensors")
    for number in range(6):
        strokes = [stroke + np.int16(number) for stroke in (SEVEN, ONE)[number % 2]]
        corrections.add(tmp_path / "corrections.npz", strokes, (7, 1)[number % 2], {"ANN": 3})
    return Script(tmp_path)


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(finetuning, "SAMPLE", 200)
    monkeypatch.setattr(finetuning, "VARIANTS", 12)


def test_a_network_is_fine_tuned_and_taken_back(learning, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(finetuning, "TOLERATED", 1.0)
    words = ("train_ann.py", "--from", "old.safetensors", *FLAGS, "--output", "new.safetensors")
    done = learning(*words, "--epochs", 1)
    assert "Right on the 6 of corrections.npz:" in done.stdout
    assert "Right on the 143 of digits/validation:" in done.stdout
    old, new = (ann.ANN.load(tmp_path / f"{name}.safetensors") for name in ("old", "new"))
    assert new.config == old.config
    assert not np.array_equal(new.arrays()["1.weight"], old.arrays()["1.weight"])
    assert (new.metrics["temperature"], new.metrics["unsure_below"]) == (0.7, 0.5)
    told = new.trained_on["fine_tuned"]
    assert told["corrections"]["count"] == 6
    assert told["validation"]["after"] == round(new.metrics["accuracy"] * 143)
    # A second one, from the first.
    first = (tmp_path / "new.safetensors").read_bytes()
    learning(
        "train_ann.py", "--from", "new.safetensors", *FLAGS, "--output", "new.safetensors", "--epochs", 1
    )
    assert (tmp_path / "new-before.safetensors").read_bytes() == first
    undo = ("train_ann.py", "--undo", "--output", "new.safetensors")
    assert "again the model before" in learning(*undo).stdout
    assert (tmp_path / "new.safetensors").read_bytes() == first
    assert "is removed" in learning(*undo).stdout
    assert not (tmp_path / "new.safetensors").exists()
    assert "no model file" in learning(*undo, status=2).stderr


def test_a_network_that_reads_mnist_worse_is_refused(learning, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(finetuning, "TOLERATED", -1.0)
    before = (tmp_path / "old.safetensors").read_bytes()
    words = ("train_ann.py", "--from", "old.safetensors", *FLAGS, "--output", "old.safetensors")
    refused = learning(*words, "--epochs", 1, status=2)
    assert "is refused" in refused.stderr
    assert (tmp_path / "old.safetensors").read_bytes() == before
    assert not (tmp_path / "old-before.safetensors").exists()
    assert (
        "was not fine-tuned"
        in learning("train_ann.py", "--undo", "--output", "old.safetensors", status=2).stderr
    )


def test_undo_keeps_a_model_whose_predecessor_is_gone(ann_model, tmp_path):
    model = copy.copy(ann_model)
    model.trained_on = {"fine_tuned": {"replaced": True}}
    model.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="gone"):
        finetuning.undo(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").exists()


def test_what_cannot_be_fine_tuned_is_said_in_a_sentence(learning, softmax_model, tmp_path):
    before = (tmp_path / "old.safetensors").read_bytes()
    (tmp_path / "damaged.safetensors").write_bytes(before[:-100])
    softmax_model.save(tmp_path / "softmax.safetensors")
    shutil.copy(tmp_path / "old.safetensors", tmp_path / "output.safetensors")
    for base, words, why in (
        ("none", FLAGS, "no model file"),
        ("damaged", FLAGS, "damaged"),
        ("softmax", FLAGS, "of kind 'softmax'"),
        ("old", FLAGS[:2], "--drawings"),
        ("old", (*FLAGS[:3], "none.npz"), "no file"),
        ("old", (*FLAGS, "--fast"), "--fast"),
        ("old", (*FLAGS, "--final"), "--final"),
        ("old", (*FLAGS, "--drawing-copies", 3), "--drawing-copies"),
        ("old", (*FLAGS, "--hidden", 32), "leave out the flags"),
        ("old", (*FLAGS, "--learning-rate", -1), "learning_rate"),
    ):
        command = ("train_ann.py", "--from", f"{base}.safetensors", *words, "--output", "output.safetensors")
        assert why in learning(*command, status=2).stderr
    assert (tmp_path / "output.safetensors").read_bytes() == before


def test_a_support_vector_machine_is_refitted_and_taken_back(learning, svm_model, monkeypatch, tmp_path):
    monkeypatch.setattr(finetuning, "VARIANTS", 12)
    monkeypatch.setattr(finetuning, "TOLERATED", 1.0)
    machine = copy.copy(svm_model)
    machine.metrics = {"temperature": 0.7, "unsure_below": 0.5}
    machine.save(tmp_path / "svm.safetensors")
    words = ("--from", "svm.safetensors", *FLAGS, "--output", "new.safetensors")
    done = learning("train_svm.py", *words, "--jobs", 1)
    assert "Right on the 6 of corrections.npz:" in done.stdout
    new = SVM.load(tmp_path / "new.safetensors")
    assert new.metrics["unsure_below"] == 0.5
    told = new.trained_on["fine_tuned"]
    assert told["corrections"]["after"] == 6
    assert told["validation"]["after"] >= told["validation"]["before"] - 2
    assert "leave out the flags" in learning("train_svm.py", *words, "--C", 7, status=2).stderr
    assert "is removed" in learning("train_svm.py", "--undo", "--output", "new.safetensors").stdout
