"""The training scripts as a person runs them: records, resuming, flags, and what is refused."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import time

import classifier
from ann import ANN
from svm import SVM
from toolkit import tracking, training
from toolkit.drawings import Drawings, load_drawn, save_drawings
from toolkit.files import InputError, ModelFileError, read_arrays, write_arrays

import numpy as np
import pytest

DIGITS = ("--dataset", "digits", "--wandb", "disabled")
QUICK = {
    "softmax": ("--epochs", 3, "--batch-size", 32),
    "ann": (
        "--conv-channels",
        "8,16",
        "--convs-per-stage",
        1,
        "--epochs",
        3,
        "--batch-size",
        16,
        "--head",
        "flatten",
    ),
    "svm": ("--C", 2.0, "--jobs", 1),
}


@pytest.mark.parametrize("kind", QUICK)
def test_a_training_leaves_a_model_and_a_record(script, kind):
    done = script(
        f"train_{kind}.py", *DIGITS, *QUICK[kind], "--limit", 500, "--augment", "--output", "m.safetensors"
    )
    assert "On the 143 images of digits/validation: accuracy" in done.stdout
    assert "Model:  m.safetensors" in done.stdout
    (run,) = (script.folder / "runs").iterdir()
    record = json.loads((run / "config.json").read_text())
    assert record["config"]["config"]["augment"] == 1.0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert metrics["accuracy"] > 0.5
    assert (run / "confusion.png").stat().st_size > 10_000
    assert (run / "checkpoint.safetensors").is_file() == (kind != "svm")
    header = read_arrays(script.folder / "m.safetensors")[1]
    assert header["trained_on"]["images"] == "digits/train"
    assert header["trained_on"]["count"] == 500
    assert header["trained_on"]["config"]["augment"] == 1.0
    assert header["metrics"]["accuracy"] == metrics["accuracy"]
    if kind != "svm":
        epochs = [json.loads(line) for line in (run / "epochs.jsonl").read_text().splitlines()]
        assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
        for epoch in epochs:
            assert {"train_loss", "train_accuracy", "val_loss", "val_accuracy"} <= set(epoch)
        assert (run / "learning_curve.png").stat().st_size > 10_000
        assert done.stdout.count("epoch ") == 3

    tested = script(
        f"test_{kind}.py", "--model", "m.safetensors", "--dataset", "digits", "--json", "out.json"
    )
    assert "trained on 500 images of digits/train with augmentation" in tested.stdout
    assert json.loads((script.folder / "out.json").read_text())["accuracy"] > 0.5


def test_when_to_be_unsure_is_fitted_on_drawings(script):
    # Straight lines that are called 8: hardly any answer is to be trusted, but most must do without a "?".
    strokes = [[np.array([[0, 0], [x, 40]])] for x in range(40)]
    save_drawings(script.folder / "set.npz", Drawings(strokes, np.full(40, 8), np.zeros(40, np.uint8)))
    words = ["train_svm.py", *DIGITS, *QUICK["svm"], "--quiet", "--final", "--output", "m.safetensors"]
    doubted = {}
    lines = load_drawn(script.folder / "set.npz").images
    for drawn in ([], ["--drawn", "set.npz"]):
        script(*words, *drawn)
        model = SVM.load(script.folder / "m.safetensors")
        confidence = model.predict_proba(lines).max(axis=1)
        doubted[model.trained_on["unsure_by"]] = (confidence < model.metrics["unsure_below"]).sum()
    assert doubted["set.npz"] == 10
    assert doubted["digits/all"] != 10
    said = script(*words, "--drawn", "nothing.npz", status=2).stderr
    assert "nothing.npz" in said


@pytest.mark.parametrize("kind", ["softmax", "ann"])
def test_a_killed_training_goes_on_to_the_same_model(script, kind):
    words = [f"train_{kind}.py", *DIGITS, *QUICK[kind], "--augment", "0.5", "--quiet", "--epochs", 6]
    script(*words, "--output", "whole.safetensors")
    runs = script.folder / "runs"
    (first,) = runs.iterdir()
    process = subprocess.Popen(
        script.arguments(*words, "--output", "resumed.safetensors"),
        cwd=script.folder,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [run for run in runs.iterdir() if run != first and (run / "checkpoint.safetensors").is_file()]
        if found:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (run,) = found
    assert not (script.folder / "resumed.safetensors").exists()
    script(f"train_{kind}.py", "--resume", run, "--quiet", "--output", "resumed.safetensors")
    one, other = (read_arrays(script.folder / f"{name}.safetensors") for name in ("whole", "resumed"))
    assert one[1]["config"] == other[1]["config"]
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name])


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(script):
    process = subprocess.Popen(
        script.arguments(
            "train_ann.py", *DIGITS, *QUICK["ann"], "--epochs", 500, "--output", "m.safetensors"
        ),
        cwd=script.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("epoch   2/500"):  # the first one is in the checkpoint
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    (run,) = (script.folder / "runs").iterdir()
    assert f"python train_ann.py --resume {run.relative_to(script.folder)}" in out
    assert json.loads((run / "metrics.json").read_text())["status"] == "interrupted"
    assert (run / "checkpoint.safetensors").is_file()


def test_models_of_one_kind_are_not_resumed_as_another(script):
    script("train_softmax.py", *DIGITS, *QUICK["softmax"], "--quiet", "--output", "m.safetensors")
    (run,) = (script.folder / "runs").iterdir()
    assert "is a run of train-softmax" in script("train_ann.py", "--resume", run, status=2).stderr
    assert "no run's folder" in script("train_ann.py", "--resume", "elsewhere", status=2).stderr
    script("train_softmax.py", "--resume", run, "--quiet", "--output", "m.safetensors")


@pytest.fixture
def drawn(script):
    """Make a set of drawings with parts: each of ten writers draws every digit."""
    rng = np.random.default_rng(0)
    writers, labels = np.divmod(np.arange(100), 10)
    strokes = [[np.cumsum(rng.normal(size=(9, 2)), axis=0)] for _ in labels]
    save_drawings(script.folder / "set.npz", Drawings(strokes, labels, writers, is_test=writers >= 7))
    return script.folder / "set.npz"


@pytest.mark.parametrize("kind", QUICK)
def test_drawings_are_trained_on_by_the_writers_of_their_train_part(script, drawn, kind):
    words = [f"train_{kind}.py", *DIGITS, *QUICK[kind], "--drawings", "set.npz", "--drawings", "set.npz"]
    done = script(*words, "--drawing-copies", 3, "--output", "m.safetensors")
    # Of the writers 0 to 6, every fifth from the last validates: 6 and 1.
    assert "Trained on 1,594 images of digits/train + set.npz + set.npz" in done.stdout
    assert "On 40 drawings of set.npz + set.npz: accuracy on drawings" in done.stdout
    header = read_arrays(script.folder / "m.safetensors")[1]
    assert header["trained_on"]["count"] == 1294 + 2 * 3 * 50
    assert header["trained_on"]["drawings"] == ["set.npz", "set.npz"]
    assert 0 <= header["metrics"]["drawn_accuracy"] <= 1
    final = script(*words, "--final", "--output", "m.safetensors")
    assert "Trained on 1,717 images" in final.stdout
    assert "drawings of" not in final.stdout


def test_the_limit_holds_for_drawings_and_a_resumed_run_has_the_same(script, drawn):
    words = ["train_ann.py", *DIGITS, *QUICK["ann"], "--limit", 200, "--drawings", "set.npz"]
    done = script(*words, "--output", "m.safetensors")
    assert "Trained on 300 images of digits/train + set.npz" in done.stdout
    (run,) = (script.folder / "runs").iterdir()
    before = read_arrays(script.folder / "m.safetensors")[0]
    script("train_ann.py", "--resume", run, "--output", "m.safetensors")
    for name, array in read_arrays(script.folder / "m.safetensors")[0].items():
        np.testing.assert_array_equal(array, before[name])


def test_missing_drawings_are_named_before_any_work(script):
    said = script("train_ann.py", *DIGITS, "--drawings", "nothing.npz", status=2).stderr
    assert "there is no file nothing.npz." in said
    assert not (script.folder / "runs").exists()


@pytest.mark.parametrize("kind", QUICK)
def test_a_final_training_is_calibrated_as_the_one_before_it(script, kind):
    words = [f"train_{kind}.py", *DIGITS, *QUICK[kind], "--output", "m.safetensors"]
    script(*words)
    before = read_arrays(script.folder / "m.safetensors")[1]["metrics"]
    script(*words, "--final")
    after = read_arrays(script.folder / "m.safetensors")[1]["metrics"]
    assert after["temperature"] == before["temperature"] != 1
    assert after["unsure_below"] == before["unsure_below"]
    # Another training is no measure for this one, nor is a final one.
    script(*words, "--final", "--augment")
    assert read_arrays(script.folder / "m.safetensors")[1]["metrics"]["temperature"] != before["temperature"]


def test_final_fits_on_everything_and_chooses_on_nothing(script):
    for kind, reader in (("ann", ANN), ("svm", SVM)):
        done = script(f"train_{kind}.py", *DIGITS, *QUICK[kind], "--final", "--output", f"{kind}.safetensors")
        assert "Trained on 1,437 images of digits/all" in done.stdout
        assert "validation" not in done.stdout
        model = reader.load(script.folder / f"{kind}.safetensors")
        assert "accuracy" not in model.metrics
        assert model.metrics["temperature"] != 1  # still calibrated


def test_same_seed_same_metrics(script):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        script(
            "train_ann.py",
            *DIGITS,
            *QUICK["ann"],
            "--augment",
            "--seed",
            seed,
            "--quiet",
            "--output",
            f"{name}.st",
        )
    metrics = [read_arrays(script.folder / f"{name}.st")[1]["metrics"] for name in "abc"]
    for one in metrics:
        one.pop("train_seconds")
    assert metrics[0] == metrics[1]
    assert metrics[0] != metrics[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train_ann.py", "--activation", "Relu"), "known are ReLU"),
        (("train_ann.py", "--epochs", "0"), "wanted epochs from 1"),
        (("train_ann.py", "--epochs", "three"), "invalid int value: 'three'"),
        (("train_ann.py", "--conv-channels", "8,x"), "not a list of whole numbers"),
        (("train_ann.py", "--augment", "-1"), "wanted augment from 0"),
        (("train_ann.py", "--limit", "0"), "0 is not from 1"),
        (("train_ann.py", "--seed", "-1"), "not from 0"),
        (("train_ann.py", "--wandb", "maybe"), "invalid choice: 'maybe'"),
        (("train_ann.py", "--whatever"), "unrecognized arguments: --whatever"),
        (("train_svm.py", "--kernel", "RBF"), "known are linear, poly, rbf, sigmoid"),
        (("train_svm.py", "--C", "0"), "wanted C above 0"),
        (("train_svm.py", "--limit", "9"), "images of every digit"),
        (("train_softmax.py", "--learning-rate", "1e9"), "wanted learning_rate"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(script, words, said):
    assert said in script(*words, *DIGITS, status=2).stderr
    assert not (script.folder / "m.safetensors").exists()


def test_missing_data_gets_one_sentence(script):
    for name in ("train_softmax.py", "toolkit.datasets"):
        # The proxy takes no connection: nothing can be downloaded, whatever the machine reaches.
        nowhere = {
            name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        }
        said = script(name, "--data", "nothing", status=2, **nowhere).stderr
        assert "--dataset digits" in said
        assert "$MNIST_DIR" in said


def test_a_model_that_comes_with_the_toolkit_is_not_written_over(script, monkeypatch, tmp_path):
    import train_softmax

    monkeypatch.setattr("toolkit.training.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    train_softmax.main([*DIGITS, "--epochs", "1", "--quiet"])
    assert (tmp_path / "trained" / "softmax-digits.safetensors").is_file()
    assert not (tmp_path / "models").exists()


def test_the_users_own_model_goes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(classifier, "ROOT", tmp_path)
    assert classifier.find_model("ann") == tmp_path / "trained" / "ann.safetensors"
    for folder in ("models", "trained"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ann.safetensors").touch()
        assert classifier.find_model("ann") == tmp_path / folder / "ann.safetensors"


@pytest.mark.mnist
def test_end_to_end_on_mnist(script, mnist_dir):
    """A few thousand real images: train, test, and read recorded drawings where they are."""
    where = ("--data", mnist_dir, "--limit", 3000)
    floors = {"softmax": 0.85, "ann": 0.95, "svm": 0.96}
    extra = {"ann": ("--fast", "--epochs", 3, "--batch-size", 64, "--augment", "0.5")}
    for kind, floor in floors.items():
        model = f"{kind}.safetensors"
        script(
            f"train_{kind}.py",
            *where,
            *extra.get(kind, ()),
            "--quiet",
            "--wandb",
            "disabled",
            "--output",
            model,
        )
        script(f"test_{kind}.py", "--model", model, "--data", mnist_dir, "--quiet", "--json", "out.json")
        metrics = json.loads((script.folder / "out.json").read_text())
        assert metrics["accuracy"] > floor, kind
        assert metrics["images"] == 10_000
        drawings = os.path.join(mnist_dir, "pendigits", "pendigits.npz")
        if os.path.exists(drawings) and kind == "svm":
            script(
                f"test_{kind}.py", "--model", model, "--drawn", drawings, "--quiet", "--json", "drawn.json"
            )
            drawn = json.loads((script.folder / "drawn.json").read_text())
            assert drawn["images"] == 3498
            assert drawn["accuracy"] > 0.85


@pytest.fixture
def resumable(tmp_path, monkeypatch, digits_train):
    """For each kind: its training, of two epochs, in a run that was stopped after the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "_commit", lambda: None)

    def stopped(kind):
        module = importlib.import_module(f"train_{kind}")
        config = module.Config(epochs=2, **({"conv_channels": (2,)} if kind == "ann" else {}))
        record = {"config": config.values(), "seed": 0, "dataset": "digits", "limit": 20, "wandb": "disabled"}
        run = tracking.Run(f"train-{kind}", record, quiet=True)

        def train():
            return module.train(digits_train, None, config, seed=0, run=run)

        with monkeypatch.context() as stop:
            stop.setattr(training.Checkpoint, "write", interrupted(training.Checkpoint.write))
            with pytest.raises(KeyboardInterrupt):
                train()
        return run, train

    return stopped


def interrupted(write):
    def write_and_stop(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    return write_and_stop


@pytest.mark.parametrize("kind", ["softmax", "ann"])
@pytest.mark.parametrize("damage", ["missing", "added", "shape", "type", "epoch", "seconds"])
def test_a_damaged_checkpoint_is_refused(resumable, kind, damage):
    run, train = resumable(kind)
    path = run.directory / "checkpoint.safetensors"
    arrays, header = read_arrays(path)
    name = sorted(arrays)[-1]
    if damage == "missing":
        del arrays[name]
    elif damage == "added":
        arrays["optimizer/0/other"] = arrays[name]
    elif damage == "shape":
        arrays[name] = arrays[name][None]
    elif damage == "type":
        arrays[name] = arrays[name].astype(np.int8)
    else:
        header |= {"epoch": 1.5} if damage == "epoch" else {"seconds": "1"}
    write_arrays(path, arrays, header)
    with pytest.raises(ModelFileError, match=r"checkpoint\.safetensors is damaged"):
        train()
    write_arrays(path, {}, {})
    with pytest.raises(ModelFileError):
        train()


@pytest.mark.parametrize("entry", [{"seed": -1}, {"limit": [3]}, {"data": 5}, {"final": 1}, {"limit": 0}])
def test_a_damaged_record_is_not_resumed(resumable, entry):
    run, _ = resumable("softmax")
    path = run.directory / "config.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "config": {**record["config"], **entry}}))
    import train_softmax

    with pytest.raises(InputError, match=r"config\.json is damaged"):
        train_softmax.main(["--resume", str(run.directory), "--output", "model"])


@pytest.mark.parametrize("entry", [{"resumed": 1}, {"wandb": []}])
def test_a_record_of_another_shape_is_damaged(resumable, entry):
    run, _ = resumable("softmax")
    path = run.directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    with pytest.raises(InputError, match="is damaged"):
        tracking.read_config(run.directory)


@pytest.mark.parametrize(
    "line", ['"loss": []', '"loss": "x"', '"loss": 1e308', '"epoch": true', '"epoch": 0']
)
def test_an_epoch_that_holds_no_numbers_is_damaged(tmp_path, line):
    (tmp_path / "epochs.jsonl").write_text('{"epoch": 1, ' + line + "}\n")
    with pytest.raises(InputError, match="damaged in line 1"):
        tracking.read_epochs(tmp_path)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's list of a process's children")
def test_an_svm_has_no_processes_that_could_outlive_it(script):
    code = """
import os
from svm import SVM
from toolkit import datasets
digits = datasets.load("train", dataset="digits", limit=300)
SVM(pca=0).fit(digits.images, digits.labels, jobs=2)
print(open(f"/proc/self/task/{os.getpid()}/children").read() or "none")
"""
    assert script("-c", code).stdout.strip() == "none"
