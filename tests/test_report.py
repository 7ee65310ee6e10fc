"""The report: diagnoses, both languages, what is missing, and whatever characters a result holds."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import classifier
import pareto
import report
import train_softmax
from classifier import InputError
from experiments.augmentation import TEST_SETS
from predict import CLASSIFIERS
from softmax import Softmax
from toolkit import datasets, figures, files, tracking
from toolkit import trials as record
from toolkit.metrics import METRICS, Metric
from toolkit.report import diagnosis, markdown, results, sections, sweeps, texts
from toolkit.report.diagnosis import diagnose
from toolkit.report.importance import importance
from toolkit.report.results import Model, Results, Study
from toolkit.report.texts import Texts

import numpy as np
import pytest

NASTY = 'error: #bad *x* _y_ @ref $z$ <a> `code` \\n [q] // "c" é'


def curve(train_loss, val_loss, train_accuracy, val_accuracy) -> list[dict[str, float]]:
    columns = np.broadcast_arrays(train_loss, val_loss, train_accuracy, val_accuracy)
    names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    return [
        {"epoch": i + 1, **dict(zip(names, map(float, values), strict=True))}
        for i, values in enumerate(zip(*columns, strict=True))
    ]


x = np.arange(20)
GOOD = curve(0.02 + np.exp(-x / 2), 0.03 + np.exp(-x / 2), 0.998, 0.994)


# Diagnoses


def test_two_flat_curves_close_together_are_a_good_fit():
    found = diagnose(GOOD)
    assert found.verdict == "good fit"
    assert found.gap == pytest.approx(0.004)
    assert found.rose == pytest.approx(0, abs=0.01)


def test_a_rising_validation_loss_is_overfitting():
    epochs = curve(0.5 * np.exp(-x / 4), 0.05 + 0.002 * (x - 8.0) ** 2, 0.999, 0.995)
    assert diagnose(epochs).verdict == "overfitting"
    assert diagnose(epochs).rose > diagnosis.LOSS_RISE


def test_a_gap_of_accuracies_is_overfitting_also_without_epochs():
    assert diagnose(curve([0.01], [0.3], [1.0], [0.9])).verdict == "overfitting"
    assert diagnose(curve([0.01], [0.03], [1.0], [0.99])).verdict == "good fit"


def test_a_model_that_errs_on_both_splits_is_too_simple():
    """As softmax does: most of its errors are there on the train split already."""
    assert diagnose(curve(0.28 + 0 * x, 0.29, 0.92, 0.92)).verdict == "too simple"
    found = diagnose(curve(0.2 + 0 * x, 0.28, 0.944, 0.92))
    assert (found.verdict, found.why) == ("too simple", "error")


def test_a_training_that_was_stopped_too_early_is_still_improving():
    found = diagnose(curve(np.exp(-x / 8), np.exp(-x / 8), 0.98, 0.98))
    assert found.verdict == "still improving"
    assert found.fell > diagnosis.STILL_FALLING
    assert diagnose(curve(np.exp(-x / 8), np.exp(-x / 8), 0.9, 0.9)).verdict == "still improving"


def test_while_the_loss_falls_a_training_is_neither_overfitting_nor_too_simple():
    """Also with few epochs, and with a gap between the splits."""
    falling = np.array([0.6, 0.4, 0.3])
    assert diagnose(curve(falling, falling, 0.9, 0.9)).verdict == "still improving"
    assert diagnose(curve(falling / 9, falling, 0.99, 0.9)).verdict == "still improving"


def test_label_smoothing_is_no_overfitting():
    """The clean loss of both splits rises together, the training loss lies far above: as in real curves."""
    rising = 0.05 + 0.001 * x
    epochs = curve(rising, rising + 0.005, 0.997, 0.995)
    for epoch in epochs:
        epoch["running_loss"] = 0.35
    assert diagnose(epochs).verdict == "good fit"


def test_one_bad_epoch_changes_nothing():
    epochs = [dict(epoch) for epoch in GOOD]
    epochs[9]["val_loss"] = 5.0
    assert diagnose(epochs).verdict == "good fit"


def test_without_a_validation_split_nothing_is_said():
    final = [{"epoch": 1, "train_loss": 0.1, "train_accuracy": 0.99}]
    assert diagnose(final).verdict == "unknown"
    assert diagnose([]).verdict == "unknown"
    assert diagnose(curve([math.nan], [0.1], [0.9], [0.9])).verdict == "unknown"


# Texts


def placeholders(text: str) -> list[str]:
    found = set(re.findall(r"#(\w+)", text)) | {f"@{label}" for label in re.findall(r"@([\w-]+)", text)}
    return [*sorted(found), f"{text.count('`')} backticks"]


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_every_sentence_is_there_in_each_language_with_the_same_placeholders(language):
    english, other = Texts("en").sentences, Texts(language).sentences
    assert other.keys() == english.keys()
    for key, text in other.items():
        assert text.strip(), key
        assert placeholders(text) == placeholders(english[key]), key
        assert not re.search(r"#set\b", text), key  # a keyword of Typst


def test_every_sentence_that_the_layout_names_is_there_and_none_is_left_over():
    source = (texts.FOLDER / "report.typ").read_text()
    calls = re.findall(r'(?:say|missing)\(\s*"(\w+)"', source)
    for module in ("discussion", "sections", "sweeps"):
        code = (texts.FOLDER / f"{module}.py").read_text()
        calls += re.findall(r'"((?:sum|d|choice)_\w+|unclear)"', code)
    chosen = re.findall(r'"(trained\w*)"', source)
    named = {*calls, *chosen} - {"rule_", "sum_", "d_limit_"}
    named |= {f"rule_{rule}" for rule in ("overfitting", "improving", "simple", "good")}
    reasons = ("rose", "fell", "gap", "error", "good", "unknown", "error_once", "good_once")
    named |= {f"because_{why}" for why in reasons}
    named |= {f"sum_{effect}" for effect in ("raises", "lowers", "unclear")}
    named |= {f"on_{test_set}" for test_set in TEST_SETS}
    named |= {f"d_limit_{what}" for what in ("test", "seeds", "writers")}
    named |= {f"why_{kind}" for kind in CLASSIFIERS}
    assert len(named) > 50
    known = set(Texts("en").sentences) - {"title", "months", *CLASSIFIERS}
    assert named == known


def test_every_word_is_translated():
    """Each in report.typ, on a figure, and of a metric that the report shows."""
    layout = (texts.FOLDER / "report.typ").read_text()
    words = set(re.findall(r'(?:word|heading-of)\("([^"]+)"', layout))
    for head in re.findall(r"\(((?:\"[^\"]*\"(?:, )?|\.\.[\w.]+(?:, )?){2,})\),\s", layout):
        words |= {word for word in re.findall(r'"([^"]+)"', head) if not word.startswith("python")}
    for module in ("figures", "report/plots"):
        source = (classifier.ROOT / f"toolkit/{module}.py").read_text()
        words |= set(re.findall(r'label\("([^"]+)"', source))
    for module in ("discussion", "sections", "sweeps"):
        words |= set(re.findall(r'texts\.word\("([^"]+)"', (texts.FOLDER / f"{module}.py").read_text()))
    headings = re.findall(
        r'^        "([^"]+)": \[?\[?\*?_?\w', (texts.FOLDER / "discussion.py").read_text(), re.M
    )
    assert len(headings) == 7
    words |= {*headings, *sweeps.VARIANTS, *sweeps.SHORT.values(), "best", "median", "worst"}
    words |= {
        METRICS[name].label for name in [*sections.computed(), *(n for pair in report.PAIRS for n in pair)]
    }
    words |= {"good fit", "overfitting", "too simple", "still improving", "unknown", "(epochs)", "(study)"}
    words |= {f"{score} of each digit" for score in ("precision", "recall")}
    assert len(words) > 75
    assert words - {"F1", "MNIST"} <= Texts("es").words.keys()


def test_numbers_are_those_of_the_language():
    english, spanish = Texts("en"), Texts("es")
    assert english.number(12345.678, 1) == "12,345.7"
    assert spanish.number(12345.678, 1) == "12\u00a0345,7"
    assert spanish.percent(0.9959) == "99,59\u00a0%"
    assert english.number(-0.001, 2) == "0.00"
    assert english.number(math.nan) == english.percent(None) == "–"
    assert english.metric("latency", 0.00123) == "1.23\u00a0ms"
    assert spanish.points(0.0123, 0.004) == "1,23 ± 0,40"
    assert [english.value(v) for v in (True, [8, 16], (), None, 0.5)] == ["yes", "8, 16", "–", "–", "0.5"]


# Reading


def trial(number: int, loss: float, state: str = "finished", **parameters) -> dict:
    figures = {"loss": loss, "accuracy": 1 - loss / 3, "worst_recall": 0.9 - loss / 3}
    figures |= {f"macro_{score}": 1 - loss / 3 for score in ("precision", "recall", "f1")}
    figures |= {"latency": 0.001 * (1 + number % 3), "size": 1000 + number, "seed": 0, "epochs": 6}
    return {
        "number": number,
        "state": state,
        **figures,
        "config": dict(parameters),
        "trial_parameters": parameters,
    }


def toy_trials(count: int = 30) -> list[dict]:
    """The loss depends on the kernel and, if there is a gamma, on it; not on C."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        curved, c = bool(number % 2), 0.1 + float(rng.random())
        gamma = {"gamma": 0.01 + float(rng.random())} if curved else {}
        loss = 0.1 + 0.5 * curved + (gamma["gamma"] if curved else 0)
        trials.append(trial(number, loss, kernel="rbf" if curved else "linear", C=c, **gamma))
    return trials


def write_trials(path: Path, trials: list[dict], study: str = "svm") -> None:
    files.write_lines(path, [{"study": study, **trial} for trial in trials])


def test_a_file_gives_the_trials_that_were_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = [*toy_trials(4), {**trial(4, math.nan, "failed"), "reason": NASTY}]
    write_trials(tmp_path / "svm_trials.jsonl", trials, "my study")
    (read,) = report.read_studies(record.DEFAULT_DB, tmp_path)
    assert (read.name, read.kind) == ("my study", "svm")
    for known, found in zip(trials[:4], read.trials, strict=False):
        assert {key: found[key] for key in known} == known
    assert read.trials[4]["reason"] == NASTY


def results_of(number: int | None, config: dict, trials: list[dict]) -> Results:
    """A study, and a model whose configuration is that of a trial."""
    from svm import SVM

    model = SVM()
    model.trained_on = {"from_trial": number, "config": config}
    found = Results(CLASSIFIERS, {"svm": __import__("train_svm").Config})
    found.studies = [Study("svm", "svm", trials, "")]
    found.models = [Model("svm", Path("models/svm.safetensors"), model, {}, None)]
    return found


@pytest.mark.parametrize("on_front", [True, False])
def test_the_trial_that_a_model_comes_from_is_marked(on_front):
    """Its number in the table, if it is on a front, and a ring at its values in the figure."""
    trials = toy_trials(12)
    pair = ("accuracy", "latency")
    fronts = [pareto.Front("svm", trials, pair)]
    panels = [pareto.Front("svm", trials, other) for other in report.PAIRS]
    best = {own.finished[i]["number"] for own in panels for i in np.flatnonzero(own.optimal)}
    number = next(t["number"] for t in trials if (t["number"] in best) == on_front)
    found = results_of(number, {**trials[number]["config"], "epochs": 99}, trials)
    found.models[0].classifier.trained_on["config"].pop("epochs")
    assert found.chosen_trials() == {"svm": number}
    figure = figures.front_panels({pair: fronts}, chosen={"svm": number})
    (ring,) = (line for line in figure.axes[0].lines if line.get_label() == "chosen trial")
    assert ring.get_xydata().tolist() == [[trials[number]["accuracy"], trials[number]["latency"]]]
    by_pair = {pair: [pareto.Front("SVM", trials, pair)] for pair in report.PAIRS}
    section = sweeps.fronts(found, by_pair, {"svm": None}, Texts("en"), lambda name, figure: name)
    assert section is not None
    marked = {row[0] for row in section["rows"] if row[0].endswith(" *")}
    assert marked == ({f"SVM {number} *"} if on_front else set())


@pytest.mark.parametrize(("number", "changed"), [(None, {}), (3, {"C": 77.0}), (99, {})])
def test_a_model_of_no_trial_of_the_study_marks_none(number, changed):
    trials = toy_trials(6)
    assert results_of(number, {**trials[3]["config"], **changed}, trials).chosen_trials() == {}


def test_importance_finds_what_matters_and_blames_nothing_on_absence():
    found = importance([Study("toy", "svm", toy_trials(60), "")], repeats=2)
    assert found is not None
    assert found.names[:2] == ["kernel", "gamma"]
    assert dict(zip(found.names, found.means, strict=True))["C"] < 0.05
    assert found.r2 > 0.8
    assert importance([Study("toy", "svm", toy_trials(9), "")]) is None


def test_a_hyperparameter_may_be_named_loss():
    trials = [trial(n, 0.1 + n % 2, C=float(n % 3)) for n in range(30)]
    for entry in trials:
        entry["trial_parameters"]["loss"] = "margin" if entry["number"] % 2 else "mse"
    found = importance([Study("toy", "svm", trials, "")], repeats=2)
    assert found is not None
    assert found.names[0] == "loss"


def test_of_the_trainings_the_default_and_the_chosen_one_are_found(tmp_path):
    def run(folder: str, started: str, config: dict | None = None, status: str = "finished", **asked) -> None:
        asked = {"dataset": "mnist", "limit": None, "from_trial": None, "final": False, **asked}
        values = {**train_softmax.Config().values(), **(config or {})}
        entry = tracking.Run(
            "train-softmax", {**asked, "config": values}, quiet=True, directory=tmp_path / folder
        )
        entry.finish({"accuracy": 0.9}, status=status)
        path = tmp_path / folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": started}))

    run("results/train-softmax", "2026-01-09")
    run("runs/train-softmax-1", "2026-01-01")
    run("runs/train-softmax-2", "2026-01-02")
    run("runs/train-softmax-3", "2026-01-03", status="failed")
    run("runs/train-softmax-4", "2026-01-04", final=True)
    run("runs/train-softmax-5", "2026-01-05", limit=100)
    run("runs/train-softmax-6", "2026-01-06", {"epochs": 3}, from_trial=7)
    run("runs/train-softmax-7", "2026-01-07", dataset="digits")
    folders = [tmp_path / "runs", tmp_path / "results"]
    where = {"dataset": "mnist", "limit": None, "model": {}}
    base, chosen = results.find_trainings("softmax", train_softmax.Config, folders, **where)
    assert (base.role, chosen.role) == ("default", "chosen")
    assert base.folder.name == "train-softmax-2"
    assert chosen.folder.name == "train-softmax-6"


def test_a_training_of_an_older_version_is_one_of_todays_defaults():
    values = train_softmax.Config().values()
    old = {"penalty": values.pop("weight_decay"), **values}
    assert results.same(train_softmax.Config, old, {})
    assert not results.same(train_softmax.Config, {**old, "epochs": 3}, {})
    assert results.same(train_softmax.Config, {**old, "epochs": 3}, {}, but=["epochs"])
    assert not results.same(train_softmax.Config, {"of another version": 3}, {})


# The whole report


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, and an empty toolkit: no models."""
    monkeypatch.setattr(classifier, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pages(path) -> int:
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    return len(re.findall(rb"/Type\s*/Page\b", content))


def printed(monkeypatch) -> list[str]:
    """The data of each report that is written, as text."""
    written: list[str] = []
    render = report.render

    def watched(data, folder):
        written.append(json.dumps(data, ensure_ascii=False))
        return render(data, folder)

    monkeypatch.setattr(report, "render", watched)
    return written


@pytest.mark.parametrize("lang", texts.LANGUAGES)
def test_a_report_of_everything(place, monkeypatch, softmax_model, svm_model, lang):
    for model in (softmax_model, svm_model):
        model.save(place / "trained" / f"{model.kind}-digits.safetensors")
    run = tracking.Run(
        "train-softmax",
        {"dataset": "digits", "config": train_softmax.Config().values(), "seed": 0},
        quiet=True,
        directory=place / "runs/train-softmax-1",
    )
    for epoch in GOOD:
        run.log(epoch["epoch"], {name: value for name, value in epoch.items() if name != "epoch"})
    run.finish({"accuracy": 0.9})
    trials = [
        *toy_trials(14),
        {**trial(14, 0.5, "pruned", C=1.0), "reason": ""},
        {**trial(15, math.nan, "failed"), "reason": NASTY},
    ]
    confusion = (10 * np.eye(10, dtype=int)).tolist()
    trials[3] |= {"confusion": confusion, "history": GOOD}
    trials[8] |= {"confusion": confusion}
    (place / "results").mkdir()
    write_trials(place / "results/svm_trials.jsonl", trials)
    row = {"row": "train_softmax.py", "seed": 0, "test": 0.9, "seconds": 3.0, "bytes": 1000}
    (place / "results/models.jsonl").write_text(
        json.dumps(row) + "\n" + json.dumps({**row, "seed": 1}) + "\n"
    )
    (place / "results/notes.json").write_text(json.dumps([{"tried": {"en": "a", "es": "b"}, "result": "c"}]))
    alternative = {"method": NASTY, "validation": 0.9, "test": 0.8, "seconds": 3.0}
    files.write_lines(place / "results/softmax_alternatives.jsonl", [alternative])
    (place / "mine.md").write_text(f"# {NASTY}\n{NASTY}\n- {NASTY}\n1. [{NASTY}](https://a.b/#c)\n")
    written = printed(monkeypatch)
    asked = ["--limit", "100", "--lang", lang, "--author", NASTY, "--discussion", "mine.md"]
    report.main(["--dataset", "digits", *asked, "--quiet"])
    assert 4 < pages(place / "report.pdf") < 20
    assert not list(place.glob(".report*"))
    data = json.loads(written[-1])
    assert "python train_ann.py" in data["base"]["missing"]
    assert data["base"]["alternatives"][0][0] == NASTY
    assert data["augmentation"] is None
    assert data["searches"]["missing"] == ["python sweep_ann.py"]
    assert "sweep_svm.py --trials 16" in written[-1]
    assert data["searches"]["reasons"] == [["svm", NASTY, "1"]]
    assert len(data["configurations"]["curves"]) + len(data["configurations"]["matrices"]) > 0
    assert data["authors"] == [NASTY]
    assert [block.get("heading") for block in data["own_text"]] == [1, None, None, None]
    # The trainings and models are the user's; the trials, the base lines and the notes are not.
    reference = texts.Texts(lang).word("reference")
    assert data["searches"]["rows"][0][0] == f"SVM ({reference})"
    assert reference not in json.dumps([data["models"], data["trainings"]])
    assert data["mixed"]
    assert data["notes"] == []


def test_a_fourth_classifier_and_a_new_metric_appear_by_themselves(place, monkeypatch, softmax_model):
    (place / "fourth.py").write_text(
        "from softmax import Softmax\n\n\nclass Fourth(Softmax):\n    kind, name = 'fourth', 'Fourth'\n"
    )
    (place / "train_fourth.py").write_text("from train_softmax import Config\n")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setitem(report.CLASSIFIERS, "fourth", "Fourth")
    metric = Metric("certainty", True, "%", 100, 2, lambda labels, probabilities: 0.4321)
    monkeypatch.setitem(METRICS, "certainty", metric)
    from fourth import Fourth

    model = Fourth()
    model.set_arrays(softmax_model.arrays())
    model.trained_on = {"config": {"epochs": 3}}
    model.save(place / "models" / "fourth.safetensors")
    written = printed(monkeypatch)
    report.main(["--dataset", "digits", "--limit", "100", "--quiet"])
    data = json.loads(written[-1])
    assert data["models"]["heads"] == ["Fourth"]
    assert ["certainty", "43.21\u00a0%"] in data["models"]["rows"]
    (shown,) = data["models"]["each"]
    assert shown["confusion"] == "confusion-fourth.svg"
    assert ["epochs", "3", "passes over the training split"] in shown["config"]
    assert "python test_fourth.py" in data["reproduce"]["commands"]
    assert "python train_fourth.py" in data["base"]["missing"]


def test_what_is_missing_is_named_with_its_command(place, monkeypatch, softmax_model):
    softmax_model.save(place / "models" / "softmax.safetensors")
    written = printed(monkeypatch)
    report.main(["--dataset", "digits", "--limit", "50", "--quiet", "--output", "new/folder/mine.pdf"])
    assert 0 < pages(place / "new/folder/mine.pdf") < 20
    data = json.loads(written[-1])
    for command in ("train_ann.py", "train_svm.py"):
        assert f"python {command}" in data["models"]["missing"]
        assert f"python {command}" in data["base"]["missing"]
    assert set(data["searches"]["missing"]) == {"python sweep_ann.py", "python sweep_svm.py"}
    assert data["base"]["commands"] == []
    assert data["fronts"] is None
    assert data["reference"]


def test_the_authors_notes_are_shown_when_all_results_are_theirs(place, monkeypatch):
    (place / "results").mkdir()
    notes = [{"tried": {"en": NASTY, "es": ""}, "mnist": "99 %", "result": NASTY}]
    (place / "results/notes.json").write_text(json.dumps(notes))
    written = printed(monkeypatch)
    report.main(["--quiet"])
    (data,) = map(json.loads, written)
    assert data["notes"] == [[NASTY, "99\u00a0%", "–", NASTY]]


def test_a_text_of_ones_own_is_a_simple_subset_of_markdown():
    text = "# A *b*\nx **y z**\n`#eval(1)` [w](https://a.b)\n\n1. one\n  more\n2) two\n- three\n# "
    assert markdown.blocks(text) == [
        {"heading": 1, "text": [["", "A ", ""], ["emph", "b", ""]]},
        {
            "text": [
                ["", "x ", ""],
                ["strong", "y z", ""],
                ["", " ", ""],
                ["code", "#eval(1)", ""],
                ["", " ", ""],
                ["link", "w", "https://a.b"],
            ]
        },
        {"ordered": True, "items": [[["", "one more", ""]], [["", "two", ""]]]},
        {"ordered": False, "items": [[["", "three", ""]]]},
        {"heading": 1, "text": []},
    ]
    assert markdown.parts("snake_case_name, 2 * 3 * 4, [a](javascript:b)") == [
        ["", "snake_case_name, 2 * 3 * 4, [a](javascript:b)", ""]
    ]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_text_that_cannot_be_read_is_named(place, content):
    if content:
        (place / "mine.md").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read mine\.md"):
        report.main(["--discussion", "mine.md"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_text_is_read_from_a_file_only(place):
    os.mkfifo(place / "pipe")
    for endless in ("pipe", "/dev/zero"):  # one waits for a writer, the other has no end
        with pytest.raises(InputError, match=r"cannot read .*: it is not a file"):
            report.main(["--discussion", endless])


def test_a_name_that_is_no_utf_8_is_printed_all_the_same(place):
    Softmax().save(place / "models" / "softmax.safetensors")
    report.main(["--author", "\udcff", "--dataset", "digits", "--limit", "100", "--quiet"])
    assert pages(place / "report.pdf") > 1


def test_wrong_drawings_are_refused_before_any_work(place, monkeypatch):
    Softmax().save(place / "models" / "softmax.safetensors")
    monkeypatch.setattr(report, "read_studies", lambda *_: pytest.fail("the studies were read"))
    with pytest.raises(InputError, match=r"there is no file nothing\.npz"):
        report.main(["--drawn", "nothing.npz", "--dataset", "digits"])


def said(entries) -> list[str]:
    return [entry["key"] for entry in entries]


@pytest.mark.parametrize(
    ("number", "start", "expected"),
    [
        (None, {"C": 1.0}, ["choice_only", "choice_against", "choice_not_taken"]),
        (1, {"C": 1.0}, ["choice_only", "choice_against", "choice_final"]),
        (0, {"C": 1.0}, ["choice_only", "choice_against", "choice_other_trial"]),
        (1, {"C": 5.0}, ["choice_only", "choice_start", "choice_final"]),
    ],
)
def test_the_choice_is_argued_from_the_front(number, start, expected):
    """Trial 1 is the best of three; the starting configuration has the default C of 5, or is trial 0."""
    import train_svm

    default = train_svm.Config().values()
    configs = [
        {**default, "C": 5.0 if start["C"] != 5.0 else 2.0},
        {**default, "C": 1.0},
        {**default, "C": 3.0},
    ]
    if start["C"] == 5.0:
        configs[1]["C"] = default["C"]
    trials = [
        trial(n, loss, C=c["C"]) | {"config": c}
        for n, (loss, c) in enumerate(zip((0.2, 0.1, 0.3), configs, strict=True))
    ]
    found = results_of(number, configs[number] if number is not None else {"C": 77.0}, trials)
    by_pair = {pair: [pareto.Front("SVM", trials, pair)] for pair in report.PAIRS}
    section = sweeps.fronts(found, by_pair, {}, Texts("en"), lambda name, figure: name)
    assert section is not None
    assert [said(entries) for entries in section["choice"]] == [expected]
    assert section["choice"][0][0]["values"]["number"] == "1"


def test_of_the_trials_the_best_the_median_the_worst_and_variants_are_shown():
    trials = [trial(n, 0.1 + n / 10, kernel="rbf", C=1.0) for n in range(5)]
    trials[3]["config"]["kernel"] = "linear"
    chosen = {entry["number"]: roles for roles, entry in sweeps._telling(trials)}
    assert chosen == {0: ["best"], 2: ["median"], 4: ["worst"], 3: ["another kernel"]}
    assert sweeps._telling([]) == []


def test_without_mnist_the_models_are_not_tested(place, monkeypatch, capsys, softmax_model):
    """The report says so and how to mend it, and holds the rest; data that is damaged stays an error."""
    softmax_model.save(place / "models" / "softmax.safetensors")
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setattr(datasets, "_download", lambda folder: "no network")
    written = printed(monkeypatch)
    report.main(["--data", str(place / "nowhere")])
    assert pages(place / "report.pdf") > 0
    assert "MNIST was not found: --data DIR says where it is." in capsys.readouterr().out
    (data,) = map(json.loads, written)
    assert data["models"]["test"] is None
    (model,) = data["models"]["each"]
    assert model["path"] == "models/softmax.safetensors"
    assert model["confusion"] is None
    for name in (name for pair in datasets.MNIST_FILES.values() for name in pair[:2]):
        (place / name).write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged"):
        report.main(["--data", str(place)])


def test_studies_of_the_database_go_before_files(tmp_path):
    db = f"sqlite:///{tmp_path}/studies.db"
    about = {"objectives": ["loss"], "model": "ann", "dataset": "mnist", "limit": None}
    with record.open_study(db, "mine", create=about) as opened:
        opened.optimize(lambda trial: trial.suggest_float("C", 0, 1), n_trials=1)
    for kind in ("ann", "svm"):
        write_trials(tmp_path / f"{kind}_trials.jsonl", toy_trials(3), kind)
    studies = report.read_studies(db, tmp_path)
    assert [(own.name, own.kind, len(own.trials)) for own in studies] == [
        ("mine", "ann", 1),
        ("svm", "svm", 3),
    ]


def test_with_nothing_at_all_it_says_so(place):
    with pytest.raises(InputError, match=r"nothing to report on.*train_softmax\.py makes a first one"):
        report.main([])


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("results/ann_trials.jsonl", "{}\n"),
        ("results/models.jsonl", "{}\nno\n"),
        ("results/models.jsonl", "3\n"),
        ("results/svm_trials.jsonl", "a,b\n1,2\n"),
        ("results/notes.json", "[1]"),
        ("results/train-svm/config.json", "{"),
        ("runs/train-ann-1/config.json", "[]"),
    ],
)
def test_results_that_cannot_be_read_are_named(place, path, content):
    file = place / path
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(InputError, match=re.escape(path)):
        report.main([])


def test_mistakes_on_the_command_line_are_one_sentence(script):
    assert "invalid choice: 'fr'" in script("report.py", "--lang", "fr", status=2).stderr
    assert (
        "there is no database"
        in script("report.py", "--db", "sqlite:///other.db", "--dataset", "digits", status=2).stderr
    )


def test_the_objectives_of_the_fronts_are_known():
    assert {name for pair in report.PAIRS for name in pair} <= set(METRICS)


def test_the_command_of_a_model_is_rebuilt_from_its_file(softmax_model, monkeypatch):
    config = train_softmax.Config(augment=0.5, epochs=3).values()
    found = {"config": config, "drawings": ["my set"], "seed": 2, "final": True}
    model = Model("softmax", Path("models/softmax.safetensors"), softmax_model, {}, None)
    monkeypatch.setattr(softmax_model, "trained_on", found)
    command = sections.training_command(model, Results(CLASSIFIERS, {"softmax": train_softmax.Config}))
    assert command == "train_softmax.py --augment=0.5 --epochs=3 --drawings 'my set' --seed 2 --final"
    monkeypatch.setattr(softmax_model, "trained_on", {"drawing_copies": 4})
    command = sections.training_command(model, Results(CLASSIFIERS, {"softmax": train_softmax.Config}))
    assert command == "train_softmax.py --drawing-copies 4"
