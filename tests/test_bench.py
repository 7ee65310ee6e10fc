"""The benchmarks: every part runs at tiny sizes, and the page is written. No test asserts a time."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

from conftest import ROOT, Script
from toolkit.files import read_json, read_lines

import pytest

sys.path.insert(0, str(ROOT / "bench"))

import first_model
import growth
import measuring
import run
import softmax_alternatives


@pytest.mark.parametrize("part", ["ann", "augment", "svm", "growth"])
def test_each_part_can_be_measured_alone(part, script, monkeypatch):
    def here(path: Path, *words: object, folder: str, **_) -> str:
        """Run what would be a fresh process in this one: importing PyTorch anew takes longer."""
        if path.name.startswith("train_"):
            return Script(Path(folder))(path.name, *words).stdout
        with redirect_stdout(io.StringIO()) as out:
            import_module(path.stem).main([str(word) for word in words])
        return out.getvalue()

    for module in (measuring, first_model):
        monkeypatch.setattr(module, "run", here)
    run.main(["--quick", "--only", part, "--recipe-epochs", "2", "--output", str(script.folder)])
    assert list(read_json(script.folder / "RESULTS.json")) == [part]
    page = (script.folder / "RESULTS.md").read_text()
    assert f"## {run.PARTS[part].TITLE}\n" in page
    assert "these figures mean nothing" in page


@pytest.mark.parametrize("name", ["run", "one_training", "sweep_workers", "painter_latency"])
def test_the_scripts_start_without_knowing_where_the_toolkit_lies(name, script):
    script(f"bench/{name}.py", "--help", PYTHONPATH="")


@pytest.mark.parametrize("target", first_model.COMMANDS)
def test_the_commands_are_ones_that_train_ann_takes(target):
    assert first_model.config(target).epochs < 14


def test_the_recipe_counts_up_to_the_epoch_that_reaches_the_accuracy():
    epochs = [
        {"epoch": 1, "seconds": 100.0, "accuracy": 0.985},
        {"epoch": 2, "seconds": 180.0, "accuracy": 0.99},
        {"epoch": 3, "seconds": 260.0, "accuracy": 0.991},
    ]
    assert first_model.until(99.0, epochs) == (180, "180 s (epoch 2)")
    seconds, words = first_model.until(99.4, epochs)
    assert seconds == 260 + 11 * 80
    assert "extrapolated" in words


def test_the_exponent_is_that_of_a_power():
    rows = [
        {"images": n, "seconds": 3e-6 * n**1.5, "peak": 200 + 0.02 * n, "base": 200} for n in (100, 200, 700)
    ]
    assert growth.exponent(rows, "seconds") == pytest.approx(1.5)
    assert growth.exponent(rows, "peak") == pytest.approx(1)


def test_a_part_that_fails_leaves_the_others_measured(monkeypatch, tmp_path, capsys):
    def part(name):
        return run.Script(f"Part {name}", 1, lambda settings: [name])

    def fake(*words, **_):
        if words == ("b",):
            raise OSError("broken")
        return f"{words[0]} took 1 s\n"

    monkeypatch.setattr(run, "PARTS", {name: part(name) for name in "abc"})
    monkeypatch.setattr(run.measuring, "run", fake)
    with pytest.raises(run.InputError, match=r"not measured: b; to try again: .*--only b$"):
        run.main(["--quick", "--output", str(tmp_path)])
    assert "failed: OSError: broken" in capsys.readouterr().out
    page = (tmp_path / "RESULTS.md").read_text()
    assert "    a took 1 s" in page
    assert "Part b" not in page
    assert "    c took 1 s" in page


def test_softmax_and_its_alternatives_read_most_digits(tmp_path):
    file = tmp_path / "alternatives.jsonl"
    softmax_alternatives.main(["--dataset", "digits", "--output", str(file)])
    rows = read_lines(file)
    assert [row["method"] for row in rows] == list(softmax_alternatives.METHODS)
    assert all(row[split] > 0.8 for row in rows for split in ("train", "validation", "test"))
