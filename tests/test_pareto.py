"""The Pareto front: exact, and shown so that a person can choose from it."""

from __future__ import annotations

import csv
import importlib
import math
import re
import warnings

import pareto
from classifier import InputError
from pareto import hypervolume, is_pareto_optimal
from toolkit import figures, trials
from toolkit.files import ROOT

import chromium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from matplotlib.text import Text

# Few different values, so that ties and duplicates are the rule; infinities too.
VALUES = st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 1e-300, 1.0, 1.0 + 2**-52, 2.0, math.inf])
POINTS = npst.arrays(
    np.float64, npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=VALUES
)


def brute_force(points: np.ndarray, maximize) -> list[bool]:
    signed = np.where(np.broadcast_to(maximize, points.shape[1]), points, -points)
    return [not any((q >= p).all() and (q > p).any() for q in signed) for p in signed]


@given(POINTS, st.data())
def test_the_front_is_that_of_brute_force(points, data):
    maximize = data.draw(st.lists(st.booleans(), min_size=points.shape[1], max_size=points.shape[1]))
    before = points.copy()
    assert is_pareto_optimal(points, maximize).tolist() == brute_force(points, maximize)
    assert is_pareto_optimal(points, maximize[0]).tolist() == brute_force(points, maximize[0])
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
def test_the_front_of_many_points_is_that_of_brute_force(objectives):
    rng = np.random.default_rng(objectives)
    for levels in (2, 5, 10**6):
        points = rng.integers(0, levels, (700, objectives)).astype(float)
        assert is_pareto_optimal(points).tolist() == brute_force(points, True)


@given(POINTS, st.randoms(use_true_random=False))
def test_order_and_duplicates_change_nothing(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    optimal = is_pareto_optimal(points)
    assert is_pareto_optimal(points[order]).tolist() == optimal[order].tolist()
    assert is_pareto_optimal(np.vstack([points, points])).tolist() == [*optimal, *optimal]


@given(POINTS, st.data())
def test_points_with_nan_are_left_out_and_it_is_said(points, data):
    rows = data.draw(st.sets(st.integers(0, len(points) - 1), min_size=1))
    column = data.draw(st.integers(0, points.shape[1] - 1))
    points[list(rows), column] = math.nan
    with pytest.warns(UserWarning, match=f"^{len(rows)} of {len(points)} points have NaN"):
        optimal = is_pareto_optimal(points)
    assert not optimal[list(rows)].any()
    others = [row for row in range(len(points)) if row not in rows]
    assert optimal[others].tolist() == brute_force(points[others], True)


def test_no_points_have_no_front_and_wrong_shapes_are_refused():
    assert is_pareto_optimal(np.zeros((0, 3))).shape == (0,)
    for wrong in (np.zeros(3), np.zeros((2, 0)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="shape"):
            is_pareto_optimal(wrong)
    with pytest.raises(ValueError, match="wanted 3 directions; got 2"):
        is_pareto_optimal(np.zeros((4, 3)), [True, False])


@pytest.mark.parametrize("kind", ["random", "all on the front"])
def test_ten_thousand_points_are_no_problem(kind):
    points = np.random.default_rng(0).random((10_000, 3))
    if kind != "random":
        points[:, 2] = 1 - points[:, 0] - points[:, 1]
    optimal = is_pareto_optimal(points)
    assert optimal.all() == (kind != "random")
    sample = np.random.default_rng(1).choice(10_000, 50)
    for index in sample:
        better = (points >= points[index]).all(axis=1) & (points > points[index]).any(axis=1)
        assert optimal[index] == (not better.any())


def test_hypervolumes_that_can_be_counted():
    assert hypervolume([[1, 1]], [0, 0]) == 1
    assert hypervolume([[2, 1], [1, 2]], [0, 0]) == 3
    assert hypervolume([[2, 1], [1, 2], [1, 1], [2, 1]], [0, 0]) == 3
    assert hypervolume([[0.5, 3]], [1, 4], [False, False]) == 0.5
    assert hypervolume([[0.5, 3]], [1, 2], [False, True]) == 0.5
    assert hypervolume([[1, -1]], [0, 0]) == 0
    assert hypervolume(np.zeros((0, 2)), [0, 0]) == 0
    assert hypervolume([[1, 1, 1], [2, 1, 0.5]], [0, 0, 0]) == pytest.approx(1.5)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_hypervolume_is_the_share_of_random_points_that_are_dominated(objectives):
    rng = np.random.default_rng(objectives)
    points = rng.random((12, objectives))
    targets = rng.random((200_000, objectives))
    share = (targets[:, None] <= points).all(axis=2).any(axis=1).mean()
    assert hypervolume(points, [0.0] * objectives) == pytest.approx(share, abs=0.005)


# The command line


def fill(db: str, name: str, rows: list[dict]) -> None:
    """Make a study with trials of given metrics."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    codes = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    about = {"objectives": ["loss"], "model": name, "dataset": "mnist", "limit": None}
    with trials.open_study(db, name, create=about) as study:
        for number, metrics in enumerate(rows):
            drawn = {"learning_rate": 0.001 * (number + 1), "optimizer": "Adam"}
            state = metrics.pop("state", "finished")
            study.add_trial(
                create_trial(
                    state=codes[state],
                    value=0.0 if state == "finished" else None,
                    params=drawn,
                    distributions={
                        "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
                        "optimizer": CategoricalDistribution(["Adam"]),
                    },
                    user_attrs={"config": {**drawn, "hidden": [16]}, **metrics},
                )
            )


@pytest.fixture
def db(tmp_path) -> str:
    url = f"sqlite:///{tmp_path}/studies.db"
    figures = [(0.99, 0.95), (0.95, 0.99), (0.97, 0.97), (0.96, 0.96), (0.99, 0.95), (0.9, 0.9)]
    rows = [
        {"macro_precision": p, "macro_recall": r, "latency": 0.001 / p, "size": 1000 * r, "accuracy": p}
        for p, r in figures
    ]
    rows += [
        {"state": "pruned", "loss": 1.0},
        {"state": "failed", "reason": "MemoryError"},
        {"macro_recall": 1.0},
    ]
    fill(url, "ann", rows)
    fill(
        url,
        "svm",
        [{"macro_precision": 0.98, "macro_recall": 0.98, "latency": 0.01, "size": 10, "accuracy": 0.98}],
    )
    return url


def run(capsys, *words: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pareto.main(list(words))
    return capsys.readouterr().out


def test_the_fronts_of_all_studies(db, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = run(capsys, "--db", db)
    assert "ann: 4 of 9 trials on the front" in out
    assert "ann: 1 finished trials lack a value of an objective: left out." in out
    assert "svm: 1 of 1 trials on the front" in out
    lines = [line.split() for line in out.splitlines()]
    rows = [line for line in lines if len(line) > 3 and line[0].isdigit()]
    assert [row[0] for row in rows] == ["0", "4", "2", "1", "0"]
    assert rows[0][1:5] == ["99.00", "%", "95.00", "%"]
    assert "all: optimizer Adam" in out
    assert "ypervolume" not in out
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert out.endswith(f"Next: python train_ann.py --from-trial 0 --final --db {db}\n")


def test_the_hypervolume_is_explained_to_those_who_ask(db, tmp_path, capsys):
    out = run(capsys, "--db", db, "--verbose", "--output", str(tmp_path / "front.png"))
    assert "The hypervolume is the area or volume" in out
    assert "reference point: macro_precision 90.00 %, macro_recall 90.00 %" in out.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    volume = 0.09 * 0.05 + 0.07 * 0.02 + 0.05 * 0.02
    assert f"Hypervolume of ann: {volume:.4g}, " in out


def figure_of(rows: list[dict], pair: tuple[str, str] = ("macro_precision", "macro_recall")):
    rows = [{"state": "finished", "trial_parameters": {}, "number": n, **row} for n, row in enumerate(rows)]
    panels = pareto.panels_of([pareto.Front("ann", rows, pair)], [pair])
    return figures.front_panels(panels, "a title"), panels


def test_the_plot_ends_at_100_percent_and_shows_trials_that_were_stopped():
    rows = [{"macro_precision": p, "macro_recall": r} for p, r in ((0.98, 0.96), (0.97, 0.99), (0.96, 0.96))]
    figure, _ = figure_of([*rows, {"state": "pruned", "macro_precision": 0.95, "macro_recall": 0.95}])
    (axes,) = figure.axes
    assert axes.get_xlim()[1] == axes.get_ylim()[1] == 1
    assert axes.get_xlabel() == "macro precision (%)"
    assert [0.95, 0.95] in [place for line in axes.lines for place in line.get_xydata().tolist()]
    assert "stopped early, at its last epoch" in [text.get_text() for text in figure.legends[0].texts]


def test_labels_of_trials_do_not_overlap_and_equal_trials_share_one():
    pair = ("macro_precision", "macro_recall")
    close = [{pair[0]: 0.99 + n / 1e4, pair[1]: 0.99 - n / 1e4} for n in range(8)]
    figure, _ = figure_of([*close, close[3]])
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert sorted(text.get_text() for text in texts) == ["0", "1", "2", "3, 8", "4", "5", "6", "7"]
    frames = [Text.get_window_extent(text) for text in texts]  # without the lines to their points
    for index, frame in enumerate(frames):
        assert not any(frame.overlaps(other) for other in frames[:index])


@pytest.mark.skipif(chromium.find() is None, reason="needs Chromium")
def test_the_page_says_what_a_trial_is_and_copies_its_command(db, tmp_path, capsys):
    page = tmp_path / "front.html"
    out = run(capsys, "--db", db, "--html", str(page), "--output", str(tmp_path / "front.png"))
    assert f"Page: {page}" in out
    tab = chromium.Tab(tmp_path / "profile", 900, 900)
    try:
        tab("Page.navigate", url=page.as_uri())
        tab.until("document.querySelectorAll('.trial').length > 5")
        name = "ann, trial 0; ann, trial 4"
        find = f"[...document.querySelectorAll('.trial')].find(b => b.ariaLabel == '{name}')"
        x, y = tab.evaluate(f"(({{x, y}}) => [x + 7, y + 7])({find}.getBoundingClientRect())")
        tab("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        tab.until("!document.getElementById('about').hidden")
        told = tab.evaluate("document.getElementById('about').innerText")
        assert "ann, trial 0, on the front" in told
        assert "macro precision 99.00" in told
        assert "learning_rate 0.001" in told
        for number in (0, 4, 0):  # they lie at the same place
            for kind in ("mousePressed", "mouseReleased"):
                tab("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            command = f"python train_ann.py --from-trial {number} --final --db {db}"
            tab.until(f"document.getElementById('said').textContent == 'Copied: {command}'")
        assert tab.complaints() == []
        asked = [e["params"]["request"]["url"] for e in tab.events if "request" in e.get("params", {})]
        assert set(asked) == {page.as_uri()}  # it needs no network
    finally:
        tab.close()


def test_one_study_and_other_objectives(db, tmp_path, capsys):
    output = tmp_path / "front.png"
    out = run(
        capsys, "--db", db, "--study", "ann", "--objectives", "accuracy", "size", "--output", str(output)
    )
    assert "svm" not in out
    assert "ann: 3 of 9 trials on the front" in out
    run(
        capsys,
        "--db",
        db,
        "--study",
        "svm",
        "--study",
        "ann",
        "--objectives",
        "accuracy,latency,size",
        "--output",
        str(output),
    )
    assert output.read_bytes().startswith(b"\x89PNG")


def test_every_trial_is_exported(db, tmp_path, capsys):
    path = tmp_path / "trials.csv"
    run(capsys, "--db", db, "--csv", str(path), "--output", str(tmp_path / "front.png"))
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert [row["state"] for row in rows] == ["finished"] * 6 + ["pruned", "failed", "finished", "finished"]
    assert rows[7]["reason"] == "MemoryError"
    assert float(rows[0]["macro_precision"]) == 0.99
    assert rows[0]["config.hidden"] == "[16]"
    assert float(rows[0]["config.learning_rate"]) == float(rows[0]["parameter.learning_rate"]) > 0
    assert {row["study"] for row in rows} == {"ann", "svm"}


def test_text_that_looks_like_a_formula_stays_text_in_a_spreadsheet(tmp_path, capsys):
    db, path = f"sqlite:///{tmp_path}/studies.db", tmp_path / "trials.csv"
    good = {"macro_precision": 0.9, "macro_recall": 0.9}
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)"]
    fill(db, "ann", [good, *({"state": "failed", "reason": text, "note": -1.5} for text in formulas)])
    run(capsys, "--db", db, "--csv", str(path), "--output", str(tmp_path / "front.png"))
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows[1:]] == [f"'{text}" for text in formulas]
    assert {row["note"] for row in rows[1:]} == {"-1.5"}


def test_a_json_export_reads_back_exactly(db, tmp_path, capsys):
    path = tmp_path / "trials.jsonl"
    run(capsys, "--db", db, "--json", str(path), "--output", str(tmp_path / "front.png"))
    assert trials.read_export(path) == {name: trials.read_trials(db, name) for name in ("ann", "svm")}
    path.write_text('{"number": 1}\n')
    with pytest.raises(InputError, match="no trial in line 1"):
        trials.read_export(path)


@pytest.mark.parametrize("kind", ["ann", "svm"])
def test_the_trials_that_come_with_the_toolkit_can_be_read_and_trained(kind):
    """Also under the names that training has today."""
    config = importlib.import_module(f"train_{kind}").Config
    ((name, rows),) = trials.read_export(ROOT / "results" / f"{kind}_trials.jsonl").items()
    assert name == kind
    for row in rows:
        config.read(row["config"])
        assert not {"fit_loss", "fit_accuracy"} & set(row)
    front = pareto.Front(name, rows, ["accuracy", "latency"])
    assert front.optimal.any()
    assert front.count("finished") == len(front.finished) > 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--objectives", "beauty", "loss"], "unknown objective 'beauty'"),
        (["--objectives", "loss"], "two different objectives"),
        (["--objectives", "loss", "loss"], "two different objectives"),
        (["--study", "nothing"], "there is no study 'nothing' in .*; it holds ann, svm"),
        (["--study", "svm", "--objectives", "accuracy", "epochs"], "no trial of svm has"),
        (["--output", "3"], "wanted a file that ends in .png, .*; got 3"),
        (["--output", "front.xyz"], "wanted a file that ends in .png, .*; got front.xyz"),
    ],
)
def test_what_cannot_be_shown_is_said(db, words, says):
    with pytest.raises(InputError, match=says):
        pareto.main(["--db", db, *words])


def test_a_database_that_is_not_there_is_said_with_who_makes_one(script):
    for words in (["--db", "sqlite:///studies.db"], ["--study", "mine"]):
        assert (
            "there is no database studies.db; sweep_ann.py and sweep_svm.py make one"
            in script("pareto.py", *words, status=2).stderr
        )


# The trials that come with the toolkit


def test_they_are_shown_where_there_is_no_database(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = run(capsys)
    for kind in ("ann", "svm"):
        assert f"{kind}: the trials that come with the toolkit, results/{kind}_trials.jsonl" in out
    (number,) = re.findall(r"\nNext: python train_(?:ann|svm)\.py --from-trial (\d+) --final\n$", out)
    kind = "ann" if "train_ann.py" in out else "svm"
    assert trials.trial_config(None, kind, int(number))
    assert not (tmp_path / "studies.db").exists()


def test_the_users_own_trials_go_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fill(trials.DEFAULT_DB, "ann", [{"macro_precision": 0.5, "macro_recall": 0.5}])
    out = run(capsys)
    assert "ann: 1 of 1 trials on the front" in out
    assert "come with" not in out
    assert "svm" not in out
    # A study that is not theirs is there all the same, by its name.
    out = run(capsys, "--study", "svm")
    assert "svm: the trials that come with the toolkit" in out
    assert trials.trial_config(None, "ann", 0)["hidden"] == [16]
    with pytest.raises(InputError, match="there is no trial 1 in study 'ann'"):
        trials.trial_config(None, "ann", 1)


@pytest.mark.parametrize("path", ["README.md", "pareto.py", "sweep_ann.py", "sweep_svm.py"])
def test_a_trial_that_the_texts_name_is_a_finished_one_of_these(path):
    for kind, number in re.findall(r"train_(\w+)\.py --from-trial (\d+)", (ROOT / path).read_text()):
        assert trials.trial_config(None, kind, int(number))
