"""The report: diagnoses, both languages, what is missing, and whatever characters a result holds."""

from __future__ import annotations

import json
import math
import re
import string
from pathlib import Path

import numpy as np
import pytest

import classifier
import pareto
import report
from classifier import InputError
from toolkit import datasets, study, tracking
from toolkit.report import figures, gather, texts
from toolkit.report.gather import diagnose
from toolkit.report.texts import TEXTS, Language
from toolkit.study import MAXIMIZE

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
    assert found.verdict == "good_fit"
    assert found.gap == pytest.approx(0.004)
    assert found.rose == pytest.approx(0, abs=0.01)


def test_a_rising_choosing_loss_is_overfitting():
    epochs = curve(0.5 * np.exp(-x / 4), 0.05 + 0.002 * (x - 8.0) ** 2, 0.999, 0.995)
    assert diagnose(epochs).verdict == "overfitting"
    assert diagnose(epochs).rose > gather.LOSS_RISE


def test_a_gap_of_accuracies_is_overfitting_also_without_epochs():
    assert diagnose(curve([0.01], [0.3], [1.0], [0.9])).verdict == "overfitting"
    assert diagnose(curve([0.01], [0.03], [1.0], [0.99])).verdict == "good_fit"


def test_a_model_that_cannot_learn_its_images_underfits():
    assert diagnose(curve(0.28 + 0 * x, 0.29, 0.92, 0.92)).verdict == "underfitting"


def test_a_training_that_was_stopped_too_early_underfits():
    found = diagnose(curve(np.exp(-x / 8), np.exp(-x / 8), 0.98, 0.98))
    assert found.verdict == "underfitting"
    assert found.fell > gather.STILL_FALLING


def test_label_smoothing_is_no_overfitting():
    """The clean loss of both splits rises together, the training loss lies far above: as in real curves."""
    rising = 0.05 + 0.001 * x
    epochs = curve(rising, rising + 0.005, 0.997, 0.995)
    for epoch in epochs:
        epoch["running_loss"] = 0.35
    assert diagnose(epochs).verdict == "good_fit"


def test_one_bad_epoch_changes_nothing():
    epochs = [dict(epoch) for epoch in GOOD]
    epochs[9]["val_loss"] = 5.0
    assert diagnose(epochs).verdict == "good_fit"


def test_without_a_choosing_split_nothing_is_said():
    final = [{"epoch": 1, "train_loss": 0.1, "train_accuracy": 0.99}]
    assert diagnose(final).verdict == "unknown"
    assert diagnose([]).verdict == "unknown"
    assert diagnose(curve([math.nan], [0.1], [0.9], [0.9])).verdict == "unknown"


# Texts


def test_every_text_is_there_in_both_languages_with_the_same_placeholders():
    def placeholders(text: str) -> set:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        return fields | set(re.findall(r"<[^>]*>", text)) | {f"{text.count('`')} backticks"}

    for key, own in TEXTS.items():
        assert len(own) == len(texts.LANGUAGES), key
        assert all(text.strip() for text in own), key
        assert len({frozenset(placeholders(text)) for text in own}) == 1, key


def test_every_text_that_the_program_names_is_there():
    parts = ("report.py", "toolkit/report/gather.py", "toolkit/report/figures.py")
    source = "".join((classifier.ROOT / part).read_text() for part in parts)
    named = re.findall(r'\b(?:say|say\.plain|heading|text)\(\s*"(\w+)"', source)
    named += [key for keys in re.findall(r'say\.row\(\s*"([\w ]+)"', source) for key in keys.split()]
    for call, form in (("table", "{}_caption"), ("figure", "{}_figure"), ("missing", "missing_{}")):
        found = re.findall(rf'document\.{call}\(\s*"(\w+)"', source)
        assert found
        named += map(form.format, found)
    assert len(named) > 100
    assert set(named) <= set(TEXTS)


def test_every_key_of_a_text_is_there_once():
    keys = re.findall(r"^([^#\s].*?): ", texts.WRITTEN, re.MULTILINE)
    assert len(keys) == len(set(keys)) == len(TEXTS)


def test_numbers_are_those_of_the_language():
    english, spanish = Language("en"), Language("es")
    assert english.number(12345.678, 1) == "12,345.7"
    assert spanish.number(12345.678, 1) == "12\u00a0345,7"
    assert spanish.percent(0.9959) == "99,59\u00a0%"
    assert english.number(-0.001, 2) == "0.00"
    assert english.number(math.nan) == english.percent(None) == "–"
    assert english.metric("latency", 0.00123) == "1.23\u00a0ms"
    assert [english.tick(v) for v in (0.15, 99.55, 3.0)] == ["0.15", "99.55", "3"]


def test_what_is_put_into_a_text_is_no_markup():
    made = Language("en")("trained_unknown", path="a`b` <c> {d}")
    assert made[1] == {"code": "a`b` <c> {d}"}


# Reading


def trial(number: int, loss: float, state: str = "finished", **parameters) -> dict:
    figures = {"loss": loss, "accuracy": 1 - loss / 3, "worst_recall": 0.9 - loss / 3}
    figures |= {"latency": 0.001 * (1 + number % 3), "size": 1000 + number, "seed": 0, "epochs": 6}
    config = {**parameters, "hidden": [16], "augmented": True}
    return {"number": number, "state": state, **figures, "config": config, "trial_parameters": parameters}


def toy_trials(count: int = 30) -> list[dict]:
    """The loss depends on the kernel and, where there is a gamma, on it; not on C."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        curved, c = bool(number % 2), float(rng.random())
        gamma = {"gamma": float(rng.random())} if curved else {}
        loss = 0.1 + 0.5 * curved + (gamma["gamma"] if curved else 0)
        trials.append(trial(number, loss, kernel="curved" if curved else "plain", C=c, **gamma))
    return trials


def test_a_table_gives_the_trials_that_the_database_gave(tmp_path):
    trials = [*toy_trials(4), {**trial(4, math.nan, "failed"), "reason": NASTY}]
    path = tmp_path / "svm_trials.csv"
    pareto.export_csv([pareto.Front("my study", trials, ["accuracy", "size"])], str(path))
    (sweep,) = gather.read_trials(path)
    assert (sweep.name, sweep.kind) == ("my study", "svm")
    for known, read in zip(trials[:4], sweep.trials, strict=False):
        assert {key: read[key] for key in known} == known
    assert sweep.trials[4]["reason"] == NASTY


def model_of_trial(number: int | None, config: dict, **measured) -> gather.Assessment:
    """A model whose configuration is that of a trial."""
    known = {"size": 1, "test": "", "metrics": {}, "latency": 0.0, "mistakes": [], "drawn": {}, **measured}
    trained_on = {"from_trial": number, "config": config}
    return gather.Assessment("svm", Path("models/svm.safetensors"), {}, trained_on, **known)


@pytest.mark.parametrize("on_front", [True, False])
def test_the_trial_that_a_model_comes_from_is_marked(tmp_path, on_front):
    """Its number in the table of the front that it is on, and a ring at its values in the figure."""
    trials = toy_trials(12)
    (front,) = fronts = [pareto.Front("svm", trials, report.PAIRS[0])]
    number = next(t["number"] for t, best in zip(trials, front.optimal, strict=True) if best == on_front)
    model = model_of_trial(number, {**trials[number]["config"], "epochs": 99})
    results = gather.Results(sweeps=[gather.Sweep("svm", "svm", trials, "")], models=[model])
    chosen = gather.chosen_trials(results)
    assert chosen == {"svm": number}
    figure = figures.fronts_figure({report.PAIRS[0]: fronts}, chosen, Language("en"))
    (ring,) = (line for line in figure.axes[0].lines if line.get_label() == "chosen trial")
    trial = trials[number]
    assert ring.get_xydata().tolist() == [[trial["accuracy"], pytest.approx(1000 * trial["latency"])]]
    document = report.Document(Language("en"), tmp_path)
    report.pareto_section(document, results, {"svm": None}, Language("en"))
    cells = [cell for block in document.blocks if block["kind"] == "table" for cell in block["cells"]]
    marked = {cell for cell in cells if isinstance(cell, str) and cell.endswith(" *")}
    assert marked <= {f"{number} *"}
    assert marked or not on_front
    assert f"svm {number}." in str(document.blocks)


@pytest.mark.parametrize(("number", "changed"), [(None, {}), (3, {"C": -1.0}), (99, {})])
def test_a_model_of_no_trial_of_the_study_marks_none(number, changed):
    trials = toy_trials(6)
    model = model_of_trial(number, {**trials[3]["config"], **changed})
    results = gather.Results(sweeps=[gather.Sweep("svm", "svm", trials, "")], models=[model])
    assert gather.chosen_trials(results) == {}


def test_importance_finds_what_matters_and_blames_nothing_on_absence():
    found = gather.importance([gather.Sweep("toy", "svm", toy_trials(60), "")], repeats=2)
    assert found is not None
    assert found.names[:2] == ["kernel", "gamma"]
    assert dict(zip(found.names, found.means, strict=True))["C"] < 0.05
    assert found.r2 > 0.8
    assert gather.importance([gather.Sweep("toy", "svm", toy_trials(9), "")]) is None


def test_of_the_runs_the_default_and_the_chosen_one_are_found(tmp_path):
    import train_softmax

    def run(folder: str, started: str, config: dict | None = None, status: str = "finished", **asked) -> None:
        asked = {"dataset": "mnist", "limit": None, "from_trial": None, "final": False, **asked}
        entry = tracking.Run(
            "train-softmax",
            {**asked, "config": {**train_softmax.CONFIG, **(config or {})}},
            quiet=True,
            directory=tmp_path / folder,
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

    class Asked:
        dataset, limit = "mnist", None

    folders = [tmp_path / "runs", tmp_path / "results"]
    base, chosen = gather.find_runs("softmax", folders, Asked, {})
    assert base is not None
    assert chosen is not None
    assert base.folder.name == "train-softmax-2"
    assert chosen.folder.name == "train-softmax-6"


# The whole report


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, and an empty toolkit: no models."""
    monkeypatch.setattr(classifier, "ROOT", tmp_path)
    monkeypatch.setattr(gather, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pages(path) -> int:
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    return len(re.findall(rb"/Type\s*/Page\b", content))


def printed(monkeypatch) -> list[str]:
    """What goes into the template, as text; filled when a report is written."""
    texts: list[str] = []
    dumps = json.dumps
    monkeypatch.setattr(report.json, "dumps", lambda content: texts.append(str(content)) or dumps(content))
    return texts


@pytest.mark.parametrize("lang", texts.LANGUAGES)
def test_a_report_of_everything(place, monkeypatch, softmax_model, svm_model, lang):
    import train_softmax

    for model in (softmax_model, svm_model):
        model.save(place / "trained" / f"{model.kind}-digits.safetensors")
    run = tracking.Run(
        "train-softmax",
        {"dataset": "digits", "config": train_softmax.CONFIG, "seed": 0},
        quiet=True,
        directory=place / "runs/train-softmax-1",
    )
    for epoch in GOOD:
        run.log(epoch["epoch"], epoch)
    run.finish({"accuracy": 0.9})
    trials = [
        *toy_trials(14),
        {**trial(14, 0.5, "pruned", C=1.0), "reason": ""},
        {**trial(15, math.nan, "failed"), "reason": NASTY},
    ]
    (place / "results").mkdir()
    pareto.export_csv([pareto.Front("svm", trials, ["accuracy", "size"])], "results/svm_trials.csv")
    row = {"row": "train_softmax.py", "seed": 0, "test": 0.9, "seconds": 3.0, "bytes": 1000}
    (place / "results/models.jsonl").write_text(
        json.dumps(row) + "\n" + json.dumps({**row, "seed": 1}) + "\n"
    )
    (place / "results/notes.json").write_text(
        json.dumps([{"title": {"en": NASTY, "es": NASTY}, "text": NASTY}])
    )
    texts = printed(monkeypatch)
    report.main(["--dataset", "digits", "--limit", "100", "--lang", lang, "--author", NASTY, "--quiet"])
    assert 4 < pages(place / "report.pdf") < 20
    assert not list(place.glob(".report*"))
    assert "python train_ann.py" in texts[-1]
    assert "experiments/augmentation.py --drawn FILE" in texts[-1]
    assert "python sweep_ann.py" in texts[-1]
    assert "sweep_svm.py --trials 16" in texts[-1]
    assert repr(NASTY)[1:-1] in texts[-1]


def test_what_is_missing_is_named_with_its_command(place, monkeypatch, softmax_model):
    softmax_model.save(place / "models" / "softmax.safetensors")
    texts = printed(monkeypatch)
    report.main(["--dataset", "digits", "--limit", "50", "--quiet", "--output", "new/folder/mine.pdf"])
    assert 0 < pages(place / "new/folder/mine.pdf") < 20
    for command in ("train_ann.py", "train_svm.py", "sweep_ann.py", "sweep_svm.py", "bench/results.py"):
        assert f"python {command}" in texts[-1]


def test_without_mnist_the_models_are_not_tested(place, monkeypatch, capsys, softmax_model):
    """The report says so and how to mend it, and holds the rest; data that is damaged stays an error."""
    softmax_model.save(place / "models" / "softmax.safetensors")
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setattr(datasets, "_download", lambda folder: "no network")
    texts = printed(monkeypatch)
    report.main(["--data", str(place / "nowhere")])
    assert pages(place / "report.pdf") > 0
    assert "MNIST was not found: --data DIR says where it lies." in capsys.readouterr().out
    written = texts[-1]
    assert "MNIST was not found: " in written
    assert "{'code': '--data DIR'}" in written
    assert "tab-config-softmax" in written
    assert "tab-models" not in written
    assert "fig-confusion" not in written
    for name in (name for pair in datasets.MNIST_FILES.values() for name in pair[:2]):
        (place / name).write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged"):
        report.main(["--data", str(place)])


def test_studies_of_the_database_go_before_tables(tmp_path):
    db = f"sqlite:///{tmp_path}/studies.db"
    about = {"objectives": ["loss"], "model": "ann", "dataset": "mnist", "limit": None}
    with study.open_study(db, "mine", create=about) as opened:
        new = opened.claim(1, {"seed": 0})
        new.suggest_float("C", 0, 1)
        opened.end(new, "finished", {"loss": 0.1, "config": {}}, [0.1])
    for kind in ("ann", "svm"):
        front = pareto.Front(kind, toy_trials(3), ["accuracy", "size"])
        pareto.export_csv([front], str(tmp_path / f"{kind}_trials.csv"))
    sweeps = gather.load_sweeps(db, tmp_path)
    assert [(sweep.name, sweep.kind, len(sweep.trials)) for sweep in sweeps] == [
        ("mine", "ann", 1),
        ("svm", "svm", 3),
    ]


def test_with_nothing_at_all_it_says_so(place):
    with pytest.raises(InputError, match=r"nothing to report on.*train_softmax\.py makes a first one"):
        report.main([])


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("results/ann_trials.csv", "a,b\n1,2\n"),
        ("results/models.jsonl", "{}\nno\n"),
        ("results/models.jsonl", "3\n"),
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
    assert {name for pair in report.PAIRS for name in pair} <= set(MAXIMIZE)
