"""Files that a crash leaves whole: model files, records, and lines that are added to a record."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent  # the toolkit's folder


class InputError(ValueError):
    """Something that the user can mend. A command line prints its one sentence and exits with 2."""


class ModelFileError(InputError):
    """A model file that is missing, damaged, not ours or of another kind."""


def write_safely(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: beside the target first, then renamed.

    A symbolic link is followed, and an existing file keeps its permissions. Raises OSError when the file
    cannot be written, and InputError for a target that is not a regular file.
    """
    target = Path(path).resolve()
    mode = check_writable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str], endings: Sequence[str] = ()) -> int:
    """Return the permissions that a file will have when it is written; nothing is changed.

    Raises InputError when the path is not a regular file or has none of the endings, such as ".png", and
    OSError when its folder cannot be written to.
    """
    if endings and Path(path).suffix.lower() not in endings:
        raise InputError(f"wanted a file that ends in {', '.join(endings)}; got {path}.")
    target = Path(path).resolve()
    folder = next((parent for parent in target.parents if parent.exists()), target)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(folder))
    try:
        found = target.stat().st_mode
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
    if not stat.S_ISREG(found):
        raise InputError(f"{path} is not a regular file, so it is not written to.")
    return stat.S_IMODE(found)


def append_line(path: str | os.PathLike[str], entry: Mapping[str, Any]) -> None:
    """Add one JSON object as a line, whole or not at all, also when the disk is full.

    NaN and infinity, which JSON does not have, become null.
    """
    line = (json.dumps(jsonable(entry)) + "\n").encode()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Unbuffered: a buffer that could not be written is written again when the file is closed.
    with open(path, "a+b", buffering=0) as file:
        file.seek(0)
        # A kill may have cut the last line short: the new one must not stick to it.
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        try:
            while line:
                line = line[file.write(line) :]
        except BaseException:
            file.truncate(whole)
            raise


def write_lines(path: str | os.PathLike[str], entries: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of one JSON object a line, whole or not at all."""
    write_safely(path, "".join(json.dumps(jsonable(entry)) + "\n" for entry in entries).encode())


def read_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line; [] when there is no such file.

    A last line without its end, which a kill cut short, is left out. Raises InputError for any other line
    that is not a JSON object.
    """
    file = Path(path)
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [_json_object(line, f"{path} is damaged in line {n}.") for n, line in enumerate(lines, start=1)]


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object. Raises FileNotFoundError, and InputError when the file holds something else."""
    return _json_object(Path(path).read_bytes(), f"{path} is damaged.")


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all; NaN and infinity become null."""
    write_safely(path, (json.dumps(jsonable(content), indent=1, default=str) + "\n").encode())


def _json_object(content: bytes, sentence: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(sentence)
    return value


def jsonable(value: Any) -> Any:
    """Return the value as JSON has it: NumPy numbers and arrays as plain ones, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]
) -> None:
    """Write arrays and a JSON header as a `.safetensors` file, whole or not at all."""
    from safetensors.numpy import save

    content = save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()},
        metadata={"digits": json.dumps(header)},
    )
    write_safely(path, content)


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays and the JSON header of a file that `write_arrays` wrote.

    Raises ModelFileError when there is no such file, or when it is damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    if not file.is_file():
        raise ModelFileError(f"there is no model file {path}.")
    try:
        with safe_open(file, framework="numpy") as content:
            metadata = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 -- it is no dict
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{path} is damaged or is not a model file ({error}).") from error
    try:
        header = json.loads(metadata["digits"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is not a model file of this project: it lacks our header.") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path} is damaged: its header is not a JSON object.")
    return arrays, header


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of arrays, with their names, shapes and dtypes, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hide_password(text: str) -> str:
    """Return a text with *** in place of the password of a URL."""
    return re.sub(r"(//[^/:@\s]*:)\S*@", r"\1***@", text)


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of the given packages."""
    from importlib.metadata import version

    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
