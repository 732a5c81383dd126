"""Files and folders that are there whole or not at all."""

import pytest

from dami_text.files import remove_unfinished, whole_file, whole_folder, write_whole


def test_a_file_takes_its_place_at_the_end(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with whole_file(file) as unfinished:
        unfinished.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    write_whole(file, b"newer")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "newer")]


def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    file, folder = tmp_path / "a.txt", tmp_path / "folder"
    file.write_text("old")
    folder.mkdir()
    (folder / "b").write_text("old")

    def fail(block, write):
        with block as unfinished:
            write(unfinished)
            raise RuntimeError

    for block, write in (
        (whole_file(file), lambda path: path.write_text("half")),
        (whole_file(file), lambda path: None),
        (whole_folder(folder, overwrite=True), lambda path: (path / "c").write_text("half")),
    ):
        with pytest.raises(RuntimeError):
            fail(block, write)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b", "folder"]
    assert (file.read_text(), (folder / "b").read_text()) == ("old", "old")


def test_a_folder_replaces_an_empty_one_and_another_only_when_asked(tmp_path):
    folder = tmp_path / "deep" / "folder"
    for overwrite in (False, True):
        with whole_folder(folder, overwrite) as unfinished:
            (unfinished / str(overwrite)).write_text("")
        if not overwrite:
            with pytest.raises(OSError), whole_folder(folder):  # noqa: PT011 - its number differs
                pass
        assert [path.name for path in folder.iterdir()] == [str(overwrite)]
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_what_killed_processes_left_is_removed(tmp_path):
    blocks = [whole_file(tmp_path / "a"), whole_folder(tmp_path / "b"), whole_file(tmp_path / "c")]
    for block in blocks:
        unfinished = block.__enter__()
        if not unfinished.exists():
            unfinished.write_text("half")
    remove_unfinished(tmp_path / "a")
    remove_unfinished(tmp_path / "b")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".c.")
