"""Capturing without a screen: the recorder, its order, resuming, imports and exports."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import capture
from capture import Recorder, complete, export_pictures, import_sets, load_set, next_command, writer_name
from classifier import ROOT, InputError
from toolkit import drawings
from toolkit.drawings import Drawings, load_drawings, load_drawn, save_drawings
from toolkit.framing import frame_strokes

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image


def strokes_of(digit: int, seed: int = 0) -> list[np.ndarray]:
    """Return a scribble, a different one for each digit and seed."""
    rng = np.random.default_rng((digit, seed))
    return [rng.integers(50, 450, (12, 2)).astype(np.int16) for _ in range(1 + digit % 3)]


def recorder_of(path: Path, writer: str = "me", *, per_digit: int = 2, seed: int = 0) -> Recorder:
    return Recorder(path, writer, per_digit=per_digit, rng=np.random.default_rng(seed))


def draw(recorder: Recorder, count: int, seed: int = 0) -> list[int]:
    """Record `count` drawings as a person would; return the digits that were asked for."""
    asked = []
    for number in range(count):
        assert recorder.wanted is not None
        asked.append(recorder.wanted)
        strokes = strokes_of(recorder.wanted, seed + number)
        recorder.record(strokes)
    return asked


def test_it_stands_beside_classifiers_and_has_no_answer(tmp_path):
    recorder = recorder_of(tmp_path / "a.npz")
    assert recorder.predict_proba(np.zeros((28, 28), np.uint8)) is None
    assert recorder.predict_proba(np.zeros((3, 28, 28), np.uint8)) is None
    assert recorder.metrics == {}


def test_each_drawing_is_saved_when_it_is_confirmed(tmp_path):
    path = tmp_path / "sub" / "a.npz"
    recorder = recorder_of(path)
    assert not path.exists()
    strokes = strokes_of(recorder.wanted)
    label, image = recorder.wanted, frame_strokes(strokes)
    recorder.record(strokes)
    saved = load_drawings(path)
    assert saved.labels.tolist() == [label]
    assert saved.writers.tolist() == ["me"]
    assert np.array_equal(saved.images[0], image)
    assert saved.times[0] > 1_700_000_000
    assert saved.times.dtype == np.int64
    assert all(np.array_equal(a, b) for a, b in zip(saved.strokes[0], strokes, strict=True))
    assert np.array_equal(frame_strokes(saved.strokes[0]), saved.images[0])
    assert np.array_equal(load_drawn(path).images, saved.images)


def test_the_order_is_random_and_balanced(tmp_path):
    recorder = recorder_of(tmp_path / "a.npz", per_digit=3)
    asked = draw(recorder, 30)
    for start in (0, 10, 20):
        assert sorted(asked[start : start + 10]) == list(range(10)), "each round asks for each digit"
    assert asked[:10] != asked[10:20] != list(range(10))
    assert recorder.wanted is None
    recorder.record(strokes_of(0))
    assert len(recorder.drawings) == 30, "nothing is recorded when nothing is asked for"
    other = recorder_of(tmp_path / "b.npz", per_digit=3, seed=1)
    assert draw(other, 30) != asked


def test_it_goes_on_where_it_was_left(tmp_path):
    path = tmp_path / "a.npz"
    first = draw(recorder_of(path), 7)
    again = recorder_of(path, seed=5)
    assert again.counts().sum() == 7
    rest = draw(again, 13)
    assert sorted(first + rest) == sorted(list(range(10)) * 2)
    assert sorted(first + rest[:3]) == list(range(10)), "the first round is finished first"
    assert recorder_of(path).wanted is None
    assert recorder_of(path, per_digit=3).wanted is not None


def test_two_writers_in_one_file_are_counted_apart(tmp_path):
    path = tmp_path / "group.npz"
    draw(recorder_of(path, "me"), 4)
    you = recorder_of(path, "benedikt")
    assert you.counts().sum() == 0
    draw(you, 2)
    assert load_drawings(path).writers.tolist() == ["me"] * 4 + ["benedikt"] * 2
    me = recorder_of(path, "me")
    me.redo()
    assert load_drawings(path).writers.tolist() == ["me"] * 3 + ["benedikt"] * 2


def test_redo_drops_the_last_and_asks_for_it_again(tmp_path):
    path = tmp_path / "a.npz"
    recorder = recorder_of(path)
    assert not recorder.redo()
    asked = draw(recorder, 5)
    assert recorder.redo()
    assert recorder.wanted == asked[-1]
    assert load_drawings(path).labels.tolist() == asked[:-1]
    assert recorder.redo()
    assert recorder.wanted == asked[-2]
    draw(recorder, 17)
    assert recorder.counts().tolist() == [2] * 10


def test_what_was_recorded_survives_a_kill(tmp_path):
    program = (
        "import os, signal, sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from test_capture import draw, recorder_of\n"
        "draw(recorder_of(Path('a.npz')), 3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=60)
    assert ended.returncode == -9
    assert recorder_of(tmp_path / "a.npz").counts().sum() == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == [".a.npz.lock", "a.npz"]


def test_a_drawing_that_cannot_be_saved_is_not_counted(tmp_path, monkeypatch):
    recorder = recorder_of(tmp_path / "a.npz")
    draw(recorder, 1)

    def full(path, drawings):
        raise OSError(28, "No space left on device")

    wanted = recorder.wanted
    for module in ("capture", "toolkit.drawings"):
        monkeypatch.setattr(f"{module}.save_drawings", full)
    with pytest.raises(OSError, match="No space"):
        recorder.record(strokes_of(1))
    assert len(recorder.drawings) == 1
    assert recorder.wanted == wanted
    with pytest.raises(OSError, match="No space"):
        recorder.redo()
    assert len(recorder.drawings) == 1


def test_what_another_program_added_is_kept(tmp_path):
    path = tmp_path / "a.npz"
    one, two = recorder_of(path, "me"), recorder_of(path, "you")
    draw(one, 2)
    draw(two, 1)
    draw(one, 1)
    assert load_drawings(path).writers.tolist() == ["me", "me", "you", "me"]
    assert two.redo()
    assert load_drawings(path).writers.tolist() == ["me", "me", "me"]
    assert two.counts().sum() == 0


def test_two_programs_that_write_at_once_lose_nothing(tmp_path):
    """A window records while another program imports again and again."""
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from capture import import_sets\n"
        "from test_capture import draw, recorder_of\n"
        "print('ready', flush=True)\n"
        "for number in range(20):\n"
        "    source = Path(f'source{number}.npz')\n"
        "    draw(recorder_of(source, 'you'), 1, seed=number)\n"
        "    assert import_sets(Path('a.npz'), [source])[0] == 1\n"
    )
    importing = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with importing:
        assert importing.stdout is not None
        assert importing.stdout.readline() == "ready\n"
        recorder = recorder_of(tmp_path / "a.npz", "me", per_digit=1000)
        recorded = 0
        while importing.poll() is None:
            draw(recorder, 1, seed=recorded)
            recorded += 1
            time.sleep(0.01)  # nobody draws without a pause; a lock that is never free starves the other
    assert importing.returncode == 0
    writers = load_drawings(tmp_path / "a.npz").writers.tolist()
    assert writers.count("you") == 20
    assert writers.count("me") == recorded > 0


def test_a_file_in_use_for_long_is_not_written(tmp_path, monkeypatch):
    recorder = recorder_of(tmp_path / "a.npz")
    draw(recorder, 1)
    monkeypatch.setattr(drawings, "LOCK_TIMEOUT", 0)
    with FileLock(tmp_path / ".a.npz.lock"), pytest.raises(InputError, match="in use by another program"):
        recorder.record(strokes_of(1))
    assert len(recorder.drawings) == 1
    draw(recorder, 1)


def test_files_that_are_not_ours_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("not an archive")
    with pytest.raises(InputError, match=r"a\.npz"):
        recorder_of(path)
    assert path.read_text() == "not an archive"
    parts = Drawings([strokes_of(1)], np.array([1]), np.array([3]), is_test=np.array([True]))
    save_drawings(tmp_path / "parts.npz", parts)
    with pytest.raises(InputError, match="divided into parts"):
        recorder_of(tmp_path / "parts.npz")


def test_a_set_without_images_and_times_is_completed(tmp_path):
    save_drawings(tmp_path / "a.npz", Drawings([strokes_of(4)], np.array([4]), np.array([17], np.uint8)))
    drawings = load_set(tmp_path / "a.npz")
    assert np.array_equal(drawings.images[0], frame_strokes(strokes_of(4)))
    assert drawings.writers.tolist() == ["17"]
    assert drawings.times.tolist() == [0]
    assert complete(Drawings([], np.zeros(0, np.int64), np.zeros(0, str))).images.shape == (0, 28, 28)


def test_a_folder_or_a_set_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for name in ("load_drawings", "load_set"):
        monkeypatch.setattr(capture, name, lambda path: pytest.fail("a set was read"))
    for words in (["set.npz", "--export", "file"], [".", "--import", "a.npz"], [".", "--writer", "me"]):
        with pytest.raises((InputError, OSError)):
            capture.main(
                ["--output", *(str(tmp_path / w) if w[0] != "-" and w != "me" else w for w in words)]
            )


def test_export_and_import_give_the_same_images(tmp_path):
    path, folder = tmp_path / "a.npz", tmp_path / "pictures"
    draw(recorder_of(path, "me_b"), 6)
    drawings = load_set(path)
    assert export_pictures(drawings, folder) == 6
    names = sorted(file.name for file in folder.iterdir())
    assert names[0].endswith(".png")
    assert names == sorted(f"{label}_me_b_{n:04}.png" for n, label in enumerate(drawings.labels, start=1))
    with Image.open(folder / names[0]) as picture:
        assert picture.size == (28, 28)
        assert picture.mode == "L"
    assert import_sets(tmp_path / "b.npz", [folder]) == (6, 6)
    again = load_drawings(tmp_path / "b.npz")
    order = np.argsort([name for name in (f"{label}_{n:04}" for n, label in enumerate(drawings.labels))])
    assert np.array_equal(again.images, drawings.images[order])
    assert np.array_equal(again.labels, drawings.labels[order])
    assert set(again.writers) == {"me_b"}
    assert again.strokes == [[]] * 6
    assert np.array_equal(load_drawn(tmp_path / "b.npz").images, again.images)


def test_importing_twice_adds_nothing(tmp_path):
    draw(recorder_of(tmp_path / "a.npz", "me"), 5)
    draw(recorder_of(tmp_path / "b.npz", "you"), 4)
    export_pictures(load_set(tmp_path / "a.npz"), tmp_path / "pictures")
    group = tmp_path / "group.npz"
    sources = [tmp_path / "a.npz", tmp_path / "b.npz"]
    assert import_sets(group, sources) == (9, 9)
    assert import_sets(group, [*sources, *sources]) == (0, 9)
    assert import_sets(group, [tmp_path / "pictures"]) == (0, 9), "these are the same drawings' pictures"
    saved = load_drawings(group)
    assert saved.writers.tolist() == ["me"] * 5 + ["you"] * 4
    assert all(saved.strokes)


def test_pictures_from_elsewhere_are_framed(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    large = np.full((200, 150), 255, np.uint8)
    large[40:160, 70:80] = 0  # a 1, black on white
    Image.fromarray(large).save(folder / "1_from elsewhere.png")
    Image.fromarray(large).convert("RGBA").save(folder / "1_x_7.PNG")
    (folder / "notes.txt").write_text("no picture")
    Image.fromarray(large).save(folder / "cover.png")
    assert import_sets(tmp_path / "a.npz", [folder]) == (2, 2)
    saved = load_drawings(tmp_path / "a.npz")
    assert saved.labels.tolist() == [1, 1]
    assert sorted(saved.writers.tolist()) == ["from elsewhere", "x"]
    assert saved.images[0].max() == 255
    assert saved.images[0][0].max() == 0
    assert 15 <= np.count_nonzero(saved.images[0].any(axis=1)) <= 24


def test_an_import_leaves_out_and_names_what_cannot_be_read(tmp_path, capsys):
    folder = tmp_path / "pictures"
    draw(recorder_of(tmp_path / "a.npz"), 3)
    export_pictures(load_set(tmp_path / "a.npz"), folder)
    (folder / "3_x.png").write_text("no picture")
    assert import_sets(tmp_path / "b.npz", [folder]) == (3, 3)
    assert "3_x.png is not a picture" in capsys.readouterr().err
    assert len(load_drawn(folder)) == 3
    assert np.array_equal(load_drawn(folder).images, load_drawn(tmp_path / "b.npz").images)


def test_an_import_that_fails_adds_nothing(tmp_path):
    draw(recorder_of(tmp_path / "a.npz"), 2)
    before = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "3_x.png").write_text("no picture")
    draw(recorder_of(tmp_path / "b.npz"), 2, seed=9)
    for bad in ("empty", "bad", "missing"):
        with pytest.raises(InputError, match=bad):
            import_sets(tmp_path / "a.npz", [tmp_path / "b.npz", tmp_path / bad])
    assert (tmp_path / "a.npz").read_bytes() == before


@pytest.mark.parametrize("name", ["me", "Zoë", "a.b", "writer-7", "x" * 64, "3", "María José", "Pat O'Hara"])
def test_writers_names_that_can_name_a_file(name):
    assert writer_name(name) == name


def test_an_accent_is_one_character_however_it_was_typed():
    assert writer_name("Jose\u0301") == "Jos\u00e9"


def test_pictures_keep_names_with_spaces_and_accents(tmp_path):
    draw(recorder_of(tmp_path / "a.npz", "María José"), 3)
    export_pictures(load_set(tmp_path / "a.npz"), tmp_path / "pictures")
    assert import_sets(tmp_path / "a.npz", [tmp_path / "pictures"]) == (0, 3)


def test_the_next_command_can_be_typed():
    assert next_command(Path("captured/me.npz")) == "python test_ann.py --drawn captured/me.npz"
    assert (
        next_command(Path("captured/María José.npz"))
        == 'python test_ann.py --drawn "captured/María José.npz"'
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "../x",
        ".hidden",
        "end.",
        "a ",
        " a",
        "a. ",
        "con",
        "NUL",
        "nul.txt",
        "x" * 65,
        "a\n",
        "-x",
    ],
)
def test_writers_names_that_cannot(name):
    import argparse

    with pytest.raises(argparse.ArgumentTypeError):
        writer_name(name)


def test_command_line(script, tmp_path):
    draw(recorder_of(tmp_path / "a.npz", "me"), 3)
    done = script("capture.py", "--output", "group.npz", "--import", "a.npz", "--export", "pictures")
    assert done.stdout.splitlines() == ["3 new drawings; group.npz holds 3.", "3 pictures are in pictures."]
    assert len(list((tmp_path / "pictures").glob("?_me_*.png"))) == 3
    assert "--writer" in script("capture.py", status=2).stderr
    assert "--writer" in script("capture.py", "--output", "x.npz", status=2).stderr
    assert "cannot name a file" in script("capture.py", "--writer", "../x", status=2).stderr
    assert "nothing.npz" in script("capture.py", "--output", "nothing.npz", "--export", "p", status=2).stderr
    assert "nothing" in script("capture.py", "--writer", "x", "--import", "nothing", status=2).stderr
    assert not (tmp_path / "captured").exists()
    assert "display" in script("capture.py", "--writer", "x", status=2, DISPLAY="").stderr


def test_drawings_that_look_alike_are_all_kept(tmp_path):
    """Two straight 1s give the same image, and are two drawings; the same one again is not."""
    for name, bottom in (("a", 400), ("b", 440)):
        stroke = np.array([[250, 100], [250, bottom]], np.int16)
        save_drawings(tmp_path / f"{name}.npz", Drawings([[stroke]], np.array([1]), np.array(["me"])))
    sources = [tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "a.npz"]
    assert import_sets(tmp_path / "set.npz", sources) == (2, 2)
