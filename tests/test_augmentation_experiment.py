"""The experiment on augmentation: statistics, what is done again and what is not, the test sets, the plot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

from experiments import augmentation as experiment
from toolkit import figures
from toolkit.augment import RANGES
from toolkit.config import option
from toolkit.drawings import Drawings, save_drawings
from toolkit.files import read_lines

import numpy as np
import pytest
from scipy import stats


@pytest.fixture(autouse=True)
def chance():
    """Every test draws the same numbers, whichever tests ran before it."""
    global RNG
    RNG = np.random.default_rng(0)


def drawings(count: int = 40) -> Drawings:
    """Small digits off the middle of a box of 500, by two writers."""
    strokes = [
        [
            np.array([[400, 60 + 5 * (label % 3)], [450, 120], [400 + 5 * label, 160]], dtype=np.int16),
            np.array([[420, 100]], dtype=np.int16),
        ]
        for label in np.arange(count) % 10
    ]
    strokes[0][0] = np.array([[30, 20], [60, 80], [490, 500]], dtype=np.int16)
    writers = np.arange(count) // 10 % 2
    return Drawings(strokes, np.arange(count) % 10, writers, is_test=np.arange(count) >= count // 2)


@pytest.fixture
def drawn(tmp_path):
    path = tmp_path / "drawn.npz"
    save_drawings(path, drawings())
    return path


def row(model: str, setting: str, seed: int, right: float = 0.9, **other) -> dict:
    """A row as a training leaves it, of random answers."""
    tests = {}
    for name, count in (("test", 300), ("framed", 140), ("canvas", 140)):
        read = np.where(RNG.random(count) < right, 1, 2)
        writers = None if name == "test" else np.arange(count) % 7
        tests[name] = experiment.outcome(read, np.ones(count, dtype=int), writers)
    entries = {"dataset": "mnist", "limit": None, "drawn": "d.npz", "drawn_sha256": "0", "drawn_part": "test"}
    entries.update(model=model, setting=setting, seed=seed, config={"epochs": 4}, tests=tests)
    return {**entries, **other}


def toy_rows(seeds: int = 3) -> list[dict]:
    return [
        row(model, setting, seed, 0.7 + 0.06 * index)
        for model in experiment.MODELS
        for index, setting in enumerate(experiment.SETTINGS)
        for seed in range(1 if (model, setting) == ("svm", "off") else seeds)
    ]


def test_means_have_students_interval():
    rows = toy_rows()
    means = {(m.model, m.setting, m.test_set): m for m in experiment.summarise(rows)}
    assert len(means) == 2 * 5 * 3
    mean = means["ann", "all", "framed"]
    values = [r["tests"]["framed"]["accuracy"] for r in rows if (r["model"], r["setting"]) == ("ann", "all")]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean.n, mean.mean) == (3, pytest.approx(np.mean(values)))
    assert (mean.low, mean.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert means["svm", "off", "test"].n == 1
    assert means["svm", "off", "test"].low is None


def test_where_one_factor_does_not_vary_the_paired_test_is_the_t_test_over_the_other():
    units = RNG.normal(0.3, 1, 14)
    difference, low, high, p = experiment.paired_test(np.tile(units, (5, 1)), np.ones(14))
    expected = stats.ttest_1samp(units, 0)
    assert p == pytest.approx(expected.pvalue)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    one, other = RNG.normal(0.9, 0.01, (2, 5))
    difference, low, high, p = experiment.paired_test(np.tile((one - other)[:, None], (1, 14)), np.ones(14))
    expected = stats.ttest_rel(one, other)
    assert (difference, p) == (pytest.approx((one - other).mean()), pytest.approx(expected.pvalue))
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_paired_test_is_clarks_min_f():
    differences = RNG.normal(0.5, 1, (4, 9)) + RNG.normal(0, 1, (4, 1)) + RNG.normal(0, 1, 9)
    f1 = stats.ttest_1samp(differences.mean(axis=1), 0).statistic ** 2
    f2 = stats.ttest_1samp(differences.mean(axis=0), 0).statistic ** 2
    freedom = (f1 + f2) ** 2 / (f1**2 / 8 + f2**2 / 3)
    p = experiment.paired_test(differences, np.ones(9))[3]
    assert p == pytest.approx(stats.f.sf(f1 * f2 / (f1 + f2), 1, freedom))


def test_the_paired_test_rarely_finds_what_is_not_there():
    found = 0
    for _ in range(400):
        seeds, writers = RNG.normal(0, 1, (5, 1)), RNG.normal(0, 2, 14)
        found += experiment.paired_test(seeds + writers + RNG.normal(0, 1, (5, 14)), np.ones(14))[3] < 0.05
    assert found < 400 * 0.08


def test_writers_count_as_their_drawings_do():
    counts = np.array([10.0, 40.0, 2.0])
    differences = np.array([[1, 4, -1], [2, 3, 0]])
    difference = experiment.paired_test(differences, counts)[0]
    assert difference == pytest.approx(differences.sum() / 2 / 52)


def test_no_difference_and_too_few_to_tell():
    assert experiment.paired_test(np.zeros((3, 5)), np.ones(5)) == (0, 0, 0, 1)
    assert experiment.paired_test(np.ones((1, 5)), np.ones(5)) == (1, None, None, None)


def test_holms_correction():
    assert experiment.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert experiment.holm([0.5, 0.9]) == [1, 1]
    assert experiment.holm([]) == []


def test_every_setting_is_compared_with_off():
    rows = toy_rows()
    compared = experiment.compare(rows)
    assert len(compared) == 2 * 4 * 3
    means = {(m.model, m.setting, m.test_set): m.mean for m in experiment.summarise(rows)}
    for c in compared:
        difference = means[c.model, c.setting, c.test_set] - means[c.model, "off", c.test_set]
        assert c.difference == pytest.approx(difference)
        assert c.low < c.difference < c.high
        assert c.test == ("seeds and images" if c.test_set == "test" else "seeds and writers")
    best = next(c for c in compared if (c.model, c.setting, c.test_set) == ("ann", "all", "test"))
    assert best.p < 0.05
    # Nothing to pair with: another seed of the ANN is no partner.
    assert experiment.compare([row("ann", "off", 0), row("ann", "all", 1)]) == []
    assert len(experiment.compare([row("svm", "off", 0), row("svm", "all", 1)])) == 3
    assert experiment.compare([row("svm", "off", 0), row("svm", "all", 1)])[0].p is None


def test_a_row_keeps_what_the_comparison_needs():
    read, labels = np.array([1, 2, 3, 4]), np.array([1, 2, 0, 0])
    one = experiment.outcome(read, labels, np.array(["a", "b", "a", "a"]))
    assert one == {"accuracy": 0.5, "count": 4, "writers": {"a": [1, 3], "b": [1, 1]}}
    assert experiment.outcome(read, labels, None)["wrong"] == [2, 3]
    assert experiment.outcome(read, labels, np.zeros(4))["wrong"] == [
        2,
        3,
    ]  # one writer is no sample of people


def test_a_canvas_is_shrunk_as_it_stands():
    picture = experiment.canvas_picture([np.array([[125, 375]])], 500)
    y, x = np.unravel_index(picture.argmax(), picture.shape)
    assert (abs(x + 0.5 - 7), abs(y + 0.5 - 21)) <= (1, 1)
    assert 2 < picture.sum() / 255 < 5  # a round dot two pixels wide has an area of 3.1
    line = experiment.canvas_picture([np.array([[0, 250], [500, 250]])], 500)
    assert 26 < (line > 127).any(axis=0).sum() <= 28
    assert not experiment.canvas_picture([np.array([[900, 900]])], 500).any()


def test_the_test_sets(drawn):
    tests = experiment.load_tests(drawn, "all", dataset="digits", limit=50)
    assert list(tests) == list(experiment.TEST_SETS)
    assert [len(images) for images, _, _ in tests.values()] == [50, 40, 40]
    framed, canvas = tests["framed"][0].astype(float), tests["canvas"][0].astype(float)
    assert (framed != canvas).any(axis=(1, 2)).all()
    columns = np.arange(28) + 0.5
    centre = [(images.sum(axis=1) @ columns / images.sum(axis=(1, 2)))[1:] for images in (framed, canvas)]
    assert np.abs(centre[0] - 14).max() < 1
    assert centre[1].min() > 21  # all but the first stand at the right edge
    assert len(experiment.load_tests(drawn, "validation", dataset="digits", limit=50)["framed"][1]) == 10


def test_drawings_without_strokes_are_left_out(tmp_path):
    images = np.zeros((2, 28, 28), np.uint8)
    save_drawings(
        tmp_path / "d.npz",
        Drawings([[], [np.array([[3, 4]])]], np.array([1, 2]), np.zeros(2, np.uint8), images=images),
    )
    tests = experiment.load_tests(tmp_path / "d.npz", "test", dataset="digits", limit=50)
    assert tests["canvas"][1].tolist() == [2]


@pytest.fixture
def lab(monkeypatch, drawn, tmp_path):
    """The command with trainings that do nothing but count; `lab.trained` has them."""
    trained = []

    def trainer(model):
        def train(train_set, validation_set, config, *, seed, run):
            if len(trained) == getattr(lab, "stop_after", None):
                raise KeyboardInterrupt
            trained.append((model, seed, config))
            answers = np.random.default_rng(len(trained))
            return SimpleNamespace(predict=lambda images: answers.integers(0, 10, len(images))), {}

        return SimpleNamespace(Config=experiment.TRAINERS[model].Config, train=train)

    def call(*words):
        common = ["--dataset", "digits", "--limit", "50", "--seeds", "2", "--svm-seeds", "1"]
        experiment.main([*common, "--drawn", str(drawn), "--output", str(tmp_path / "out"), *map(str, words)])

    for model in list(experiment.TRAINERS):
        monkeypatch.setitem(experiment.TRAINERS, model, trainer(model))
    lab = SimpleNamespace(call=call, trained=trained, out=tmp_path / "out", drawn=drawn)
    lab.record = lab.out / "results.jsonl"
    return lab


def test_what_is_done_is_not_done_again(lab, capsys):
    lab.call()
    assert len(lab.trained) == 5 * 2 + 5
    configs = [config for model, seed, config in lab.trained if (model, seed) == ("ann", 0)]
    assert [config.augment for config in configs] == [0, 1, 0.33, 0.67, 1]
    assert configs[1].augment_parts == "translation,scale"
    assert {config.epochs for config in configs} == {4}
    rows = experiment.load_rows(lab.record)
    assert len(rows) == 15
    kept = {"images": 50, "limit": 50, "dataset": "digits", "drawn": "drawn.npz", "drawn_part": "test"}
    assert kept.items() <= rows[0].items()
    assert {"seconds", "versions", "finished", "config"} <= set(rows[0])
    assert (rows[4]["parts"], rows[4]["ranges"]) == (list(RANGES), RANGES)
    assert sorted(path.name for path in lab.out.iterdir()) == ["augmentation.png", "results.jsonl"]
    capsys.readouterr()
    lab.call("--quiet")
    assert len(lab.trained) == 15
    assert capsys.readouterr().out.startswith("Right answers in %")
    lines = lab.record.read_text().splitlines(keepends=True)
    lab.record.write_text("".join(lines[:3] + lines[4:-1]) + lines[-1][:40])
    lab.call()
    assert len(lab.trained) == 17


def test_an_interrupted_experiment_goes_on(lab):
    lab.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        lab.call()
    assert len(read_lines(lab.record)) == 4
    lab.stop_after = None
    lab.call()
    assert len(lab.trained) == 15


def test_rows_of_other_settings_are_ignored(lab, capsys, monkeypatch):
    lab.call()
    capsys.readouterr()
    lab.call("--epochs", 1, "--models", "ann", "--seeds", 1)
    assert len(lab.trained) == 20
    assert "ANN  all                        1 " in capsys.readouterr().out
    lab.call("--limit", 60, "--models", "svm")
    lab.call("--drawn-part", "all", "--models", "svm")
    assert len(lab.trained) == 30
    assert len(read_lines(lab.record)) == 30
    rows = experiment.load_rows(lab.record)
    assert len(rows) == 15
    assert {r["config"].get("epochs") for r in rows} == {4, None}

    # An option that came later, and is off by default, makes nothing old; another default does.
    @dataclass(frozen=True)
    class Later(experiment.TRAINERS["ann"].Config):
        new_option: int = option(0, "of a later version")

    experiment.TRAINERS["ann"].Config = Later
    lab.call()
    assert len(lab.trained) == 30

    @dataclass(frozen=True)
    class Latest(Later):
        learning_rate: float = option(0.5, "with another default")

    experiment.TRAINERS["ann"].Config = Latest
    lab.call()
    assert len(lab.trained) == 40
    # So do other ranges of the augmentation.
    monkeypatch.setattr(experiment, "RANGES", {**RANGES, "scale": 0.5})
    lab.call("--models", "svm")
    assert len(lab.trained) == 45


def test_a_full_disk_leaves_whole_rows_and_the_experiment_goes_on(lab):
    resource = pytest.importorskip("resource")
    lab.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        lab.call()
    whole, lab.stop_after = lab.record.read_bytes(), None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow by more than half a row.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + len(whole) // 8, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            lab.call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert lab.record.read_bytes() == whole
    lab.call()
    assert len(read_lines(lab.record)) == 15


def test_results_that_cannot_be_written_are_refused_before_any_training(lab):
    lab.record.mkdir(parents=True)
    with pytest.raises(experiment.InputError, match="not a regular file"):
        lab.call()
    assert not lab.trained


def test_no_rows_yet(tmp_path):
    assert experiment.load_rows(tmp_path / "nothing.jsonl") == []
    assert experiment.summarise([]) == experiment.compare([]) == []


def test_the_plot_shows_every_text_in_the_readers_words():
    from matplotlib.text import Text

    rows = toy_rows()
    names = [*experiment.MODELS, *experiment.SETTINGS, *experiment.TEST_SETS]
    words = {name: f"«{index}»" for index, name in enumerate(names)}
    # So near to one another that the axis needs decimals.
    means = [replace(m, mean=0.9 + m.mean / 100, low=None, high=None) for m in experiment.summarise(rows)]
    means = [replace(m, values=tuple(0.9 + value / 100 for value in m.values)) for m in means]
    figure = figures.augmentation(means, label=lambda text: words.get(text, text), language="es")
    figure.draw_without_rendering()
    shown = {text.get_text() for text in figure.findobj(Text)}
    assert set(words.values()) <= shown
    assert any("," in text for text in shown)
    # A model without a row on a setting leaves a gap.
    assert len(figures.augmentation(experiment.summarise(rows[:1])).axes) == 3


def test_the_plot_holds_means_intervals_and_single_seeds():
    rows = toy_rows()
    axes = figures.augmentation(experiment.summarise(rows)).axes[0]
    mean = next(m for m in experiment.summarise(rows) if (m.model, m.setting) == ("ann", "all"))
    bars = [segment for drawn in axes.collections for segment in drawn.get_segments() if len(segment)]
    assert any(np.allclose(bar[:, 0], (mean.low, mean.high)) for bar in bars)
    singles = [x for line in axes.lines for x in np.asarray(line.get_xdata(), float)]
    assert all(any(np.isclose(value, x) for x in singles) for value in mean.values)


def test_wrong_input_gets_one_sentence(script, drawn, monkeypatch, capsys):
    save_drawings(script.folder / "empty.npz", Drawings([], np.zeros(0, np.int64), np.zeros(0, "U1")))
    (script.folder / "other.npz").write_text("no drawings")
    said = script("experiments/augmentation.py", "--drawn", "nothing.npz", status=2).stderr
    assert "there is none at nothing.npz" in said
    monkeypatch.chdir(script.folder)
    for name, sentence in ((".", "there is none"), ("empty.npz", "no drawings"), ("other.npz", "damaged")):
        with pytest.raises(experiment.InputError, match=sentence):
            experiment.main(["--drawn", name, "--dataset", "digits"])
    for words, sentence in (
        (["--drawn", "drawn.npz", "--seeds", "0"], "0 is not from 1"),
        (["--drawn", "drawn.npz", "--models", "knn"], "invalid choice: 'knn'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            experiment.main(words)
        assert stopped.value.code == 2
        assert sentence in capsys.readouterr().err


def test_a_quick_look(script, drawn):
    words = ["--drawn", drawn, "--dataset", "digits", "--limit", 200, "--epochs", 1, "--copies", 1]
    words += ["--seeds", 1, "--svm-seeds", 1]
    # Trained within the process: starting others takes longer than so small an SVM.
    done = script("experiments/augmentation.py", *words, LOKY_MAX_CPU_COUNT="1")
    assert "SVM, all, seed 0 (10 of 10)" in done.stdout
    for start in ("ANN  translation and scale      1 ", "SVM  all                        1 "):
        assert done.stdout.count(start) == len(experiment.TEST_SETS)
    folder = script.folder / "runs" / "augmentation"
    assert (folder / "augmentation.png").stat().st_size > 10_000
    rows = experiment.load_rows(folder / "results.jsonl")
    assert [(r["setting"], r["images"]) for r in rows] == 2 * [(name, 200) for name in experiment.SETTINGS]
