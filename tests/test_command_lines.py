"""Every script answers --help at once, and bad flags with one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

from classifier import ROOT

import pytest

SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in (ROOT, ROOT / "toolkit", ROOT / "experiments")
    for path in folder.glob("*.py")
    if "commandline.run(main)" in path.read_text()
)
HEAVY = {"torch", "torchvision", "sklearn", "matplotlib", "wandb", "optuna", "pandas"}

# What was imported says more than a time: a slow machine is no failure.
PROBE = """
import json, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = TOOLKIT
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]))
""".replace("TOOLKIT", repr(str(ROOT)))


def start(script: str, *words: str, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROBE, str(ROOT / script), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def test_all_scripts_are_found():
    assert {"train_softmax.py", "train_ann.py", "train_svm.py", "toolkit/datasets.py"} <= set(SCRIPTS)
    assert {"test_softmax.py", "test_ann.py", "test_svm.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_imports_nothing_heavy(script, tmp_path):
    ended = start(script, "--help", cwd=tmp_path)
    assert ended.stderr == ""
    code, modules = json.loads(ended.stdout.splitlines()[-1])
    assert code == 0
    assert ended.stdout.startswith("usage: ")
    assert sorted(HEAVY & set(modules)) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_flag_is_refused_in_one_sentence(script, tmp_path):
    ended = start(script, "--no-such-flag", cwd=tmp_path)
    code, _ = json.loads(ended.stdout.splitlines()[-1])
    assert code == 2
    assert ended.stderr.count("\n") == 1
    assert "--no-such-flag" in ended.stderr


@pytest.mark.parametrize("words", [["--resume", "one\ntwo"], ["--data=--"], ["one\ntwo"]])
def test_a_sentence_is_one_line(words, tmp_path):
    ended = start("train_softmax.py", *words, cwd=tmp_path)
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])[0] == 2


@pytest.mark.parametrize("script", [name for name in SCRIPTS if "/" not in name])
def test_the_toolkit_is_imported_before_what_takes_long(script):
    # It makes Ctrl-C during the other imports, some tenths of a second, end with one word.
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {script.removesuffix('.py')}\n"
        "names = list(sys.modules)\n"
        "print('numpy' not in names or names.index('toolkit') < names.index('numpy'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr
