"""The house rules of the code: which way imports run, and how long a module or a function may be."""

from __future__ import annotations

import ast
from pathlib import Path

from conftest import ROOT

import pytest

SCRIPTS = {path.stem: path for path in ROOT.glob("*.py")}
TOOLKIT = {f"toolkit.{path.stem}": path for path in (ROOT / "toolkit").glob("[!_]*.py")}
OTHERS = [path for folder in ("toolkit", "bench", "experiments") for path in (ROOT / folder).rglob("*.py")]


def imports(path: Path) -> set[str]:
    """Return the project's own modules that a file imports, inside functions and for types too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & {*SCRIPTS, *TOOLKIT}


@pytest.mark.parametrize("module", TOOLKIT)
def test_the_toolkit_imports_nothing_from_the_root_but_the_interface(module):
    assert imports(TOOLKIT[module]) & set(SCRIPTS) <= {"classifier"}


def test_what_the_interface_rests_on_imports_nothing_else():
    assert imports(SCRIPTS["classifier"]) == {"toolkit.config", "toolkit.files"}
    assert imports(TOOLKIT["toolkit.config"]) == {"toolkit.files"}
    assert imports(TOOLKIT["toolkit.files"]) == set()


def test_models_know_nothing_of_each_other():
    for model in ("softmax", "ann", "svm"):
        assert imports(SCRIPTS[model]) & set(SCRIPTS) == {"classifier"}


def test_there_are_no_import_cycles():
    arrows = {module: imports(path) for module, path in {**SCRIPTS, **TOOLKIT}.items()}
    while leaves := {module for module, targets in arrows.items() if not targets & set(arrows)}:
        arrows = {module: targets for module, targets in arrows.items() if module not in leaves}
    assert arrows == {}


@pytest.mark.parametrize("path", [*SCRIPTS.values(), *OTHERS], ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name
