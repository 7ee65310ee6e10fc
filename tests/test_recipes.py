"""The recipes of the README's section "Change it", applied as they stand to a copy of the toolkit."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from conftest import ROOT, Script
from toolkit.files import read_arrays, read_lines

import numpy as np
import pytest

# One copy of the toolkit serves all of them.
pytestmark = pytest.mark.xdist_group("recipes")
DIGITS = ("--dataset", "digits")
QUIET = ("--wandb", "disabled", "--quiet")


def recipes() -> list[tuple[str, str, str]]:
    """Return the code blocks of the section: python or diff, the file, the code."""
    section = (ROOT / "README.md").read_text().split("\n## Change it\n")[1].split("\n## ")[0]
    return re.findall(r"^```(python|diff) (\S+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def apply(folder: Path, language: str, name: str, code: str) -> None:
    """Write a new file, or add the lines with a + below (or above) those that are there."""
    if language == "python":
        assert not (folder / name).exists()
        (folder / name).write_text(code)
        return
    lines = code.splitlines()
    before = "\n".join(line[1:] for line in lines if line.startswith(" "))
    after = "\n".join(line[1:] for line in lines)
    text = (folder / name).read_text()
    assert text.count(before) == 1, (name, before)
    (folder / name).write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> Script:
    """Scripts of a copy of the toolkit to which every recipe was applied."""
    folder = tmp_path_factory.mktemp("recipes") / "toolkit-copy"
    left_out = shutil.ignore_patterns(
        ".*", "__pycache__", "tests", "results", "models", "trained", "runs", "data"
    )
    shutil.copytree(ROOT, folder, ignore=left_out)
    for recipe in recipes():
        apply(folder, *recipe)
    return Script(folder, folder)


@pytest.fixture(scope="module")
def knn(changed) -> Path:
    """The model file of the fourth classifier, trained and swept on the bundled digits."""
    changed("train_knn.py", *DIGITS, *QUIET, "--limit", 500, "--neighbours", 3)
    changed("sweep_knn.py", *DIGITS, "--quiet", "--limit", 300, "--trials", 3)
    return changed.folder / "trained" / "knn-digits.safetensors"


def test_there_is_a_recipe_for_each_change():
    files = {name for _, name, _ in recipes()}
    assert files == {
        *("knn.py", "train_knn.py", "test_knn.py", "sweep_knn.py", "predict.py"),
        *("ann.py", "sweep_ann.py", "toolkit/metrics.py", "toolkit/datasets.py", "toolkit/augment.py"),
    }


def test_the_fourth_classifier_trains_and_is_tested(changed, knn):
    assert read_arrays(knn)[1]["config"] == {"neighbours": 3}
    done = changed("test_knn.py", *DIGITS, "--json", "out.json")
    assert "(KNN), trained on 500 images of digits/train" in done.stdout
    assert json.loads((changed.folder / "out.json").read_text())["accuracy"] > 0.9
    assert "neighbours from 1 to 100" in changed("train_knn.py", "--neighbours", 0, status=2).stderr


def test_the_fourth_classifier_is_swept_and_a_trial_trains(changed, knn):
    changed("pareto.py", "--json", "trials.jsonl", "--objectives", "accuracy", "brier")
    trials = read_lines(changed.folder / "trials.jsonl")
    assert [trial["state"] for trial in trials] == ["finished"] * 3
    words = (*DIGITS, *QUIET, "--from-trial", 1, "--limit", 300, "--output", "again.safetensors")
    changed("train_knn.py", *words)
    assert read_arrays(changed.folder / "again.safetensors")[1]["config"] == trials[1]["config"]


def test_the_fourth_classifier_is_in_the_report(changed, knn):
    program = (
        "import json, sys, report\n"
        "from toolkit import files\n"
        "def render(data, folder, render=report.render):\n"
        "    print(json.dumps(files.jsonable(data)))\n"
        "    return render(data, folder)\n"
        "report.render = render\n"
        "report.main(sys.argv[1:])\n"
    )
    done = changed("-c", program, *DIGITS, "--limit", 50, "--quiet")
    assert "KNN" in done.stdout
    assert "Brier score" in done.stdout
    assert (changed.folder / "report.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.screen
def test_the_fourth_classifier_is_in_the_window(changed, knn):
    if not os.environ.get("DISPLAY"):
        pytest.skip("needs a screen: make test starts Xvfb")
    shutil.copy(knn, knn.with_name("knn.safetensors"))
    program = (
        "import predict\n"
        "from digitpainter import Painter\n"
        "def look(painter):\n"
        "    card = next(card for card in painter.workers.values() if card.name == 'KNN')\n"
        "    if card.digit:\n"
        "        print(card.name, card.state, card.digit, flush=True)\n"
        "        painter.close()\n"
        "def draw(painter):\n"
        "    if painter.canvas.winfo_width() < 50:  # not laid out yet\n"
        "        return painter.root.after(10, draw, painter)\n"
        "    painter.drawing.press(250, 100, 20)\n"
        "    painter.drawing.move(250, 400)\n"
        "    painter.lift()\n"
        "def run(painter, run=Painter.run):\n"
        "    painter.when_answered = lambda: look(painter)\n"
        "    painter.root.after(10, draw, painter)\n"
        "    run(painter)\n"
        "Painter.run = run\n"
        "predict.main([])\n"
    )
    assert changed("-c", program).stdout == "KNN ready 1\n"


def test_the_hyperparameter_is_a_flag_is_checked_kept_and_searched(changed):
    small = ("--limit", 200, "--epochs", 1, "--conv-channels", 4, "--output", "noisy.safetensors")
    changed("train_ann.py", *DIGITS, *QUIET, *small, "--noise", 0.25)
    assert read_arrays(changed.folder / "noisy.safetensors")[1]["config"]["noise"] == 0.25
    assert "wanted noise from 0 to 0.9; got 2.0." in changed("train_ann.py", "--noise", 2, status=2).stderr
    assert changed("-c", "import sweep_ann; print('noise' in sweep_ann.space())").stdout == "True\n"
    assert "share of pixels dropped while training" in " ".join(
        changed("train_ann.py", "--help").stdout.split()
    )


def test_the_metric_is_measured(changed, knn):
    changed("test_knn.py", *DIGITS, "--quiet", "--json", "brier.json")
    assert 0 < json.loads((changed.folder / "brier.json").read_text())["brier"] < 0.2
    front = changed("pareto.py", "--objectives", "accuracy", "brier").stdout
    assert re.search(r"trial +accuracy +brier +configuration\n +\d +[\d.]+\s%  0\.\d{4}  neighbours", front)


def test_the_data_set_is_trained_on(changed):
    rng = np.random.default_rng(0)
    (changed.folder / "data").mkdir()
    for part, count in (("train", 300), ("test", 50)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        np.savez(changed.folder / "data" / f"mine-{part}.npz", images=images, labels=np.arange(count) % 10)
    changed("train_softmax.py", "--dataset", "mine", *QUIET, "--epochs", 1)
    done = changed("test_softmax.py", "--dataset", "mine")
    assert "trained on 200 images of mine/train" in done.stdout
    assert "50 images of mine/test" in done.stdout


def test_the_augmentation_changes_images(changed):
    words = ("--augment", "--augment-parts", "ink", "--epochs", 1, "--output", "faded.safetensors")
    changed("train_softmax.py", *DIGITS, *QUIET, *words)
    assert (
        read_arrays(changed.folder / "faded.safetensors")[1]["trained_on"]["config"]["augment_parts"] == "ink"
    )
    program = (
        "import torch\n"
        "from toolkit.augment import augment\n"
        "ink = augment(torch.ones(4, 1, 28, 28), torch.Generator(), parts=['ink'])\n"
        "print(bool((ink[:, 0, 14, 14] < 0.99).any()))\n"
    )
    assert changed("-c", program).stdout == "True\n"
