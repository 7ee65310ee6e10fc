"""What several test modules share: small data, and models that are trained on it once."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# The tests share the processor: libraries that take all cores each would slow one another down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The window and its messages follow the system's language: here it is English.
os.environ["LC_ALL"] = "C.UTF-8"
# A test's run is nobody's business but the test's.
os.environ["WANDB_MODE"] = "offline"
os.environ.pop("WANDB_API_KEY", None)


class Script:
    """Run the toolkit's scripts as a person does, in a folder of their own."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder, self.root = folder, root

    def arguments(self, *words: object) -> list[str]:
        """Return the command that runs a script, or a module, or code that follows a "-c"."""
        script = str(words[0])
        where = [str(self.root / script)] if script.endswith(".py") else ["-m", script]
        return [sys.executable, *([script] if script == "-c" else where), *map(str, words[1:])]

    def __call__(
        self, *words: object, status: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; check its exit status, and that a refusal is one sentence."""
        if str(words[0]).startswith(("train_", "test_")) and self.root == ROOT and not environment:
            done = self._here(*map(str, words))
        else:
            done = subprocess.run(
                self.arguments(*words),
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(self.root), **environment},
                capture_output=True,
                text=True,
                timeout=300,
            )
        assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        if status == 2:
            assert "Traceback" not in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        return done

    def _here(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a script in this process: importing PyTorch anew takes longer than most trainings here."""
        from toolkit import commandline

        module = import_module(script.removesuffix(".py"))
        out, err, before = io.StringIO(), io.StringIO(), (Path.cwd(), sys.argv)
        os.chdir(self.folder)
        sys.argv = [script, *words]
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
                commandline.run(module.main)
        finally:
            os.chdir(before[0])
            sys.argv = before[1]
        return subprocess.CompletedProcess(words, int(end.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


@pytest.fixture(scope="session")
def digits_train():
    from toolkit import datasets

    return datasets.load("train", dataset="digits", limit=600)


@pytest.fixture(scope="session")
def digits_validation():
    from toolkit import datasets

    return datasets.load("validation", dataset="digits")


def silent_run():
    """A run that writes and prints nothing."""
    from toolkit import tracking

    return tracking.Run("test", {}, quiet=True, directory=False)


@pytest.fixture(scope="session")
def softmax_model(digits_train, digits_validation):
    import train_softmax

    return train_softmax.train(
        digits_train, digits_validation, train_softmax.Config(epochs=10), seed=0, run=silent_run()
    )[0]


@pytest.fixture(scope="session")
def ann_model(digits_train, digits_validation):
    import train_ann

    config = train_ann.Config(conv_channels=(8, 16), convs_per_stage=1, epochs=8, batch_size=32)
    return train_ann.train(digits_train, digits_validation, config, seed=0, run=silent_run())[0]


@pytest.fixture(scope="session")
def svm_model(digits_train, digits_validation):
    import train_svm

    return train_svm.train(
        digits_train, digits_validation, train_svm.Config(jobs=1), seed=0, run=silent_run()
    )[0]


@pytest.fixture(params=["softmax", "ann", "svm"])
def model(request):
    """Each of the three trained models in turn."""
    return request.getfixturevalue(f"{request.param}_model")


@pytest.fixture(scope="session")
def mnist_dir() -> str:
    """The folder of the real MNIST; tests that need it are left out where there is none."""
    folder = os.environ.get("MNIST_DIR")
    if not folder:
        pytest.skip("needs MNIST: set MNIST_DIR to its folder")
    return str(Path(folder).resolve())


@pytest.fixture
def random_images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
