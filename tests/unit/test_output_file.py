from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli import cli
from streams.cli.output_file import write_whole
from streams.errors import FileUnwritable


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file becomes larger than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "--figure", "{}/curve.bmp"), "name it .png or .svg"),
        (("compare", "--figure", "{}/none/curve.png"), "make its folder first"),
        (("compare", "--json", "{}/none/rows.json"), "make its folder first"),
        (("compare", "--json", "{}"), "is a folder: name a file"),
        (("evaluate", "--json", "{}/none/rows.json"), "make its folder first"),
        (("evaluate", "--report", "{}/none/page.html"), "make its folder first"),
        (("evaluate", "--report", "{}/page.pdf"), "name it .html or .png"),
        (("report", "--figure", "{}/figure.bmp"), "name it .png or .svg"),
        (("catalog", "infer", "-o", "{}/none/catalog.yaml"), "make its folder first"),
        (("catalog", "infer", "--output", "json"), "./json would be one"),
    ],
)
def test_a_file_that_could_not_be_written_is_refused_before_the_work(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    log = [] if words[0] == "report" else ["no.csv"]  # not there, and not looked for
    result = CliRunner().invoke(cli, [*(word.format(tmp_path) for word in words), *log])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("new", [False, True])
def test_a_file_for_which_there_is_no_room_is_not_left_half_written(
    tmp_path: Path, *, new: bool
) -> None:
    path = tmp_path / "rows.json"
    with room_for(100), pytest.raises(FileUnwritable, match="File too large; name another file"):
        write_whole(path, bytes(1_000), new=new)
    assert not path.exists()


def test_a_file_that_was_there_stays_where_there_is_no_room_for_another(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"last week's")
    with room_for(100), pytest.raises(FileUnwritable, match="File too large"):
        write_whole(path, bytes(1_000))
    assert path.read_bytes() == b"last week's"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_link_leads_to_is_written_and_keeps_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "rows.json", tmp_path / "latest.json"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


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
