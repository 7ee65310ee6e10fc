"""Metrics against scikit-learn's, the plots' files, and the command line behind `test_*.py`."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import classifier
import pareto
from toolkit import datasets, drawings, evaluation, figures
from toolkit.metrics import evaluate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

RNG = np.random.default_rng(0)


def predictions(labels: np.ndarray, right: float, seed: int = 0) -> np.ndarray:
    """Probabilities float32 (n, 10) of which about a part `right` has its largest value at the label."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(10, 0.3), len(labels))
    hit = rng.random(len(labels)) < right
    probabilities[hit, labels[hit]] += 2
    return (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


class Stub(classifier.Classifier):
    """Reads an image by its brightest pixel in the uppermost row: column 3 is a 3."""

    kind, name = "stub", "Stub"

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return (np.eye(10, dtype=np.float32) * 0.9 + 0.01)[images[:, 0, :10].argmax(axis=1)]

    def arrays(self):
        return {"nothing": np.zeros(1, dtype=np.float32)}

    def set_arrays(self, arrays):
        classifier.expect_arrays(arrays, {"nothing": ((1,), np.float32)})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder that is both where models lie and where a command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def trained(place):
    """A model file of the stub in trained/, and what it was trained on."""
    stub = Stub()
    stub.trained_on = {"images": "mnist/train", "count": 54000, "seed": 3, "config": {"augment": 1.0}}
    path = place / "trained" / "stub.safetensors"
    stub.save(path)
    return path


def command(*words: str) -> None:
    evaluation.test(Stub, evaluation.parse("stub", "Test the stub.", list(words)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60))
def test_figures_are_those_of_scikit_learn(pairs):
    from sklearn import metrics as sk

    labels, read = np.array(pairs).T
    probabilities = np.random.default_rng(len(pairs)).dirichlet(np.ones(10), len(labels))
    probabilities[np.arange(len(labels)), read] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = evaluate(labels, probabilities)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, read))
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, probabilities, labels=range(10)))
    assert found["confusion"] == sk.confusion_matrix(labels, read, labels=range(10)).tolist()
    macro = sk.precision_recall_fscore_support(labels, read, average="macro", zero_division=0)
    assert [found[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(macro[:3])
    each = sk.precision_recall_fscore_support(labels, read, labels=range(10), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), each, strict=True):
        assert found["per_class"][name] == pytest.approx(values.tolist())
    occurring = np.unique(labels)
    assert found["worst_recall"] == pytest.approx(each[1][occurring].min())
    assert found["worst_precision"] == pytest.approx(each[0][occurring].min())
    assert json.loads(json.dumps(found)) == found


def test_a_certain_error_keeps_the_log_loss_finite():
    probabilities = np.eye(10, dtype=np.float32)[[1, 2]]
    assert evaluate(np.array([1, 3]), probabilities)["log_loss"] == pytest.approx(7.97, abs=0.01)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        (np.array([], dtype=int), np.zeros((0, 10))),
        (np.array([1, 2]), np.full((2, 9), 1 / 9)),
        (np.array([1, 2]), np.full((3, 10), 0.1)),
        (np.array([1, 10]), np.full((2, 10), 0.1)),
        (np.array([-1, 1]), np.full((2, 10), 0.1)),
        (np.array([1.0, 2.0]), np.full((2, 10), 0.1)),
        (np.array([1, 2]), np.full((2, 10), np.nan)),
        (np.array([1, 2]), np.full((2, 10), 0.2)),
    ],
)
def test_what_cannot_be_evaluated_is_refused(labels, probabilities):
    with pytest.raises(ValueError, match="wanted"):
        evaluate(labels, probabilities)


def test_the_report_is_aligned_and_hides_no_error():
    labels = np.repeat(np.arange(9), 1200)
    text = evaluation.report_text(evaluate(labels, predictions(labels, 0.9)))
    assert text.startswith("accuracy ")
    assert "10,800" in text
    table, matrix = text.split("\n\n")[1].splitlines(), text.split("\n\n")[2].splitlines()
    assert len({len(line) for line in table}) == 1
    assert len({len(line) for line in matrix[1:]}) == 1
    assert max(map(len, text.splitlines())) <= 79
    assert table[10].split() == ["9", "0.00", "0.00", "0.00", "0"]  # nobody wrote a 9, some were read
    nobody = evaluation.report_text(evaluate(np.array([1, 1]), np.eye(10)[[1, 1]]))
    assert nobody.split("\n\n")[1].splitlines()[10].split() == ["9", "-", "-", "-", "0"]


def test_plots_are_pictures_and_leave_pyplot_alone(tmp_path):
    labels = RNG.integers(0, 10, 300)
    images = RNG.integers(0, 256, (300, 28, 28), dtype=np.uint8)
    for number, right in enumerate((0.5, 0.95, 1.1)):
        probabilities = predictions(labels, right)
        metrics = evaluate(labels, probabilities)
        figures.save(figures.confusion(metrics, "a title"), tmp_path / f"confusion{number}.png")
        worst = figures.mistakes(images, labels, probabilities, "a title")
        figures.save(worst, tmp_path / f"mistakes{number}.png")
    few = evaluate(np.array([7]), np.eye(10)[[7]])
    figures.save(figures.confusion(few, "one image"), tmp_path / "few.png")
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 7
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 300
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("objectives", [("macro_precision", "macro_recall"), ("accuracy", "latency", "size")])
def test_fronts_of_studies_with_odd_names_and_values(tmp_path, objectives):
    """A $ in a name is no mathematics; equal, perfect and single trials are drawn."""
    for name, count in (("costs $5 and $x_{", 12), ("one", 1)):
        trials = [
            {
                "number": n,
                "state": "finished",
                **{m: 1 - (n % 5) / 100 for m in objectives if m not in ("latency", "size")},
                "latency": 0.001 + n / 1e4,
                "size": 1000,
            }
            for n in range(count)
        ]
        front = pareto.Front(name, trials, objectives)
        pairs = itertools.combinations(objectives, 2)
        figure = figures.front_panels(pareto.panels_of([front], pairs), name)
        assert len(figure.axes) >= len(objectives) * (len(objectives) - 1) / 2
        for ending in ("png", "svg"):
            figures.save(figure, tmp_path / f"front.{ending}")
            assert (tmp_path / f"front.{ending}").stat().st_size > 5000


def test_the_line_of_a_front_joins_the_trials_that_none_beats():
    rng = np.random.default_rng(1)
    trials = [
        {"number": n, "state": "finished", "accuracy": 0.9 + 0.09 * a, "latency": 0.001 + 0.01 * b}
        for n, (a, b) in enumerate(rng.random((60, 2)))
    ]
    front = pareto.Front("ann", trials, ("accuracy", "latency"))
    (axes,) = figures.front_panels({("accuracy", "latency"): [front]}).axes
    (line,) = (line for line in axes.lines if line.get_drawstyle().startswith("steps"))
    drawn = {tuple(place) for place in line.get_xydata().tolist()}
    assert drawn == {tuple(values) for values in front.values[front.optimal].tolist()}


def test_the_same_figure_gives_the_same_file(tmp_path):
    metrics = evaluate(np.arange(10), np.eye(10))
    for name in ("a", "b"):
        figures.save(figures.confusion(metrics, "a title"), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "epochs",
    [
        [{"epoch": 1, "train_loss": 0.3, "train_accuracy": 0.9}],
        [{"epoch": 1, "train_loss": 0.3, "train_accuracy": 1.0, "val_loss": 0.2, "val_accuracy": 1.0}],
        [
            {"epoch": e, "train_loss": 2.3, "train_accuracy": 0.0, "val_loss": 0.0, "val_accuracy": 0.5}
            for e in (1, 2)
        ],
        [
            {"epoch": 1, "train_loss": np.nan, "train_accuracy": 0.1},
            {"epoch": 2, "train_loss": np.inf, "train_accuracy": 0.1},
        ],
    ],
    ids=["one epoch", "all right", "no loss", "not finite"],
)
@pytest.mark.filterwarnings("error")
def test_learning_curves_of_odd_trainings(tmp_path, epochs):
    figures.save(figures.learning_curve(epochs, "a title"), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_a_learning_curve_needs_an_epoch():
    with pytest.raises(ValueError, match="at least one epoch"):
        figures.learning_curve([], "a title")


def test_the_command_reports_on_the_test_split_alone(trained, monkeypatch, capsys):
    asked = []
    images = np.zeros((20, 28, 28), dtype=np.uint8)
    images[np.arange(20), 0, np.arange(20) % 10] = 255

    def load(split, **where):
        asked.append((split, where))
        return datasets.ImageSet(images, np.arange(20) % 10, "mnist/test")

    monkeypatch.setattr(datasets, "load", load)
    command("--limit", "20", "--json", "out.json", "--data", "somewhere")
    assert asked == [("test", {"dataset": "mnist", "data": "somewhere", "limit": 20})]
    printed = capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    assert "Model: trained/stub.safetensors (Stub), trained on 54,000 images of mnist/train" in printed
    assert "with augmentation, seed 3" in printed
    assert "accuracy 100.00 % (0 of 20 wrong)" in printed
    record = json.loads((trained.parent.parent / "out.json").read_text())
    assert (
        record["accuracy"] == record["macro_precision"] == record["macro_recall"] == record["macro_f1"] == 1
    )
    assert record["log_loss"] == pytest.approx(-np.log(0.91), abs=1e-4)
    assert (record["images"], record["data"], record["kind"]) == (20, "mnist/test", "stub")
    (folder,) = (trained.parent.parent / "runs").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["confusion.png", "mistakes.png", "test.json"]
    assert json.loads((folder / "test.json").read_text()) == record


def test_the_command_on_the_bundled_digits(trained, capsys):
    command("--dataset", "digits", "--limit", "50", "--quiet", "--output", "plots")
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert (trained.parent.parent / "plots" / "mistakes.png").is_file()
    Stub().save(trained.parent / "stub-digits.safetensors")
    command("--dataset", "digits", "--output", "plots")
    printed = capsys.readouterr().out
    assert "stub-digits.safetensors" in printed
    assert "360 images of digits/test" in printed


@pytest.mark.parametrize(("flag", "place_"), [("--json", "."), ("--json", "file/x"), ("--output", "file")])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(trained, place, flag, place_):
    (place / "file").touch()
    with pytest.raises((classifier.InputError, OSError)):
        evaluation.parse("stub", "Test the stub.", ["--dataset", "digits", flag, place_])
    assert not (place / "runs").exists()


def test_the_command_on_drawings(trained, tmp_path, capsys):
    for label in (3, 8):
        image = np.full((60, 60), 255, dtype=np.uint8)
        image[10:50, 28:32] = 0
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "set" / f"{label}_me.png")
    command("--drawn", "set")
    assert "2 images of set" in capsys.readouterr().out
    strokes = [[np.array([[0, 0], [0, 30]])] for _ in range(5)]
    kept = drawings.Drawings(
        strokes, np.arange(5), np.zeros(5, int), is_test=np.array([True, False] * 2 + [True])
    )
    drawings.save_drawings(tmp_path / "set.npz", kept)
    for part, count in (("test", 3), ("validation", 2), ("all", 5)):
        command("--drawn", "set.npz", "--drawn-part", part)
        assert f"{count} images of set.npz" in capsys.readouterr().out


def test_a_missing_model_names_the_command_that_makes_it(place):
    with pytest.raises(
        classifier.InputError, match=r"trained.stub\.safetensors; python train_stub\.py makes one"
    ):
        command()
    with pytest.raises(classifier.InputError, match=r"python train_stub\.py --dataset digits makes one"):
        command("--dataset", "digits")
    with pytest.raises(classifier.InputError, match=r"no model file nowhere; python train_stub\.py makes"):
        command("--model", "nowhere")


def test_the_shipped_model_is_taken_where_there_is_no_other(place, capsys):
    Stub().save(place / "models" / "stub.safetensors")
    command("--dataset", "digits")
    assert "Model: models/stub.safetensors (Stub)" in capsys.readouterr().out


def test_what_does_not_go_together_is_refused(trained):
    with pytest.raises(classifier.InputError, match="--limit goes with a data set"):
        command("--drawn", "set", "--limit", "3")
    with pytest.raises(classifier.InputError, match="nowhere"):
        command("--drawn", "nowhere")


@pytest.mark.parametrize("kind", ["softmax", "ann", "svm"])
def test_the_scripts_say_what_is_missing_in_one_sentence(kind, tmp_path):
    script = classifier.ROOT / f"test_{kind}.py"
    words = [sys.executable, str(script), "--model", str(tmp_path / "none.safetensors")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"python train_{kind}.py makes one" in ended.stderr
