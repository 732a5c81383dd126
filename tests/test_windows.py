"""What Windows does otherwise, pretended here: no machine of it has run these tests."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from dami_text.cli.parsing import show_whatever_comes
from dami_text.config.run import RunConfig
from dami_text.data import cache
from dami_text.files import whole_folder
from dami_text.simulation import records
from dami_text.simulation.grid import folder_name
from dami_text.simulation.records import LOCK, RunFolder


def test_a_lock_that_is_open_cannot_be_unlinked(tmp_path, monkeypatch):
    unlink, held = Path.unlink, []

    class Lock(FileLock):
        def release(self, force=False):
            super().release(force)
            held.clear()

    def refusing(path, missing_ok=False):
        if path.name == LOCK and held:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        unlink(path, missing_ok)

    monkeypatch.setattr(records, "FileLock", Lock)
    monkeypatch.setattr(Path, "unlink", refusing)
    monkeypatch.setattr(sys, "platform", "win32")
    for _ in range(2):
        with RunFolder(tmp_path / "run", RunConfig()).locked():
            held.append(1)
            assert (tmp_path / "run" / LOCK).exists()
        assert not (tmp_path / "run").exists(), "a run that has written nothing leaves nothing behind"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (r"C:\Users\ann\texts.csv", "texts.csv"),
        ("C:\\texts\\", "texts"),
        ("data/SetFit/subj", "subj"),
        ("a:b?c*.csv", "a-b-c-.csv"),
        ("con", "con-"),
        ("NUL.csv", "NUL.csv-"),
        ("console", "console"),
    ],
)
def test_names_of_folders_are_names_there_too(value, name):
    assert folder_name(value) == name


def test_an_array_that_another_process_has_made_and_reads_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "HF_HOME", str(tmp_path))
    theirs = np.arange(3)

    def replace(path, target):
        np.save(target, theirs)
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "replace", replace)
    found = cache.cached_array("kind", "key", lambda: np.arange(3))
    assert found.tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.rglob("*.npy")] == ["key.npy"]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path, monkeypatch):
    rename = os.rename

    def refusing(path, target):
        if Path(target).exists():
            raise FileExistsError(17, "Cannot create a file when that file already exists")
        rename(path, target)
        return Path(target)

    monkeypatch.setattr(Path, "rename", refusing)
    (tmp_path / "session").mkdir()
    with whole_folder(tmp_path / "session") as unfinished:
        (unfinished / "a").write_text("a", encoding="utf-8")
    assert (tmp_path / "session" / "a").read_text(encoding="utf-8") == "a"


def test_a_console_that_lacks_a_character_shows_its_escape(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    show_whatever_comes()
    print("gut, \N{CJK UNIFIED IDEOGRAPH-597D}, ±")
    sys.stdout.flush()
    assert raw.getvalue() == b"gut, \\u597d, \xb1" + os.linesep.encode()
