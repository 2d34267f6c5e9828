from __future__ import annotations

import resource
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli import cli
from streams.cli.output_file import OutputFile, write_whole
from streams.errors import FileUnwritable


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "--figure", "{}/curve.bmp"),
        ("compare", "--figure", "{}/none/curve.png"),
        ("compare", "--json", "{}/none/rows.json"),
        ("compare", "--json", "{}"),
        ("evaluate", "--json", "{}/none/rows.json"),
        ("evaluate", "--report", "{}/none/page.html"),
        ("evaluate", "--report", "{}/page.pdf"),
        ("report", "--figure", "{}/figure.bmp"),
    ],
)
def test_a_file_that_could_not_be_written_is_refused_before_the_work(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    command, *options = (word.format(tmp_path) for word in words)
    log = [] if command == "report" else ["no.csv"]  # not there, and not looked for
    result = CliRunner().invoke(cli, [command, *options, *log])
    assert result.exit_code == 2
    assert "name it .png" in result.stderr or "folder" in result.stderr or ".html" in result.stderr


def test_a_file_in_a_folder_that_was_removed_meanwhile_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    path = OutputFile().convert("rows.json", None, None)
    with pytest.raises(FileUnwritable, match=r"rows\.json cannot be written: No such file"):
        write_whole(path, b"")


@pytest.mark.parametrize("new", [False, True])
def test_a_file_for_which_there_is_no_room_is_not_left_half_written(
    tmp_path: Path, *, new: bool
) -> None:
    path = tmp_path / "rows.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FileUnwritable, match="File too large; name another file"):
            write_whole(path, bytes(1_000), new=new)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()


def test_a_file_that_must_be_new_and_is_not_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_bytes(b"edited")
    with pytest.raises(FileUnwritable, match="File exists"):
        write_whole(path, b"", new=True)
    assert path.read_bytes() == b"edited"


def test_a_device_is_written_to_and_stays() -> None:
    with pytest.raises(FileUnwritable, match="No space left on device"):
        write_whole(Path("/dev/full"), b"{}")
    assert Path("/dev/full").exists()


def test_standard_input_is_evaluated_once_only() -> None:
    result = CliRunner().invoke(cli, ["evaluate", "-", "-"], input="user,item,ts\n")
    assert result.exit_code == 2
    assert "standard input is read once only" in result.stderr
