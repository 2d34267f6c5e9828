"""The protocol of FeMux's workload on one application that is used at each tenth minute."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.compare import command
from streams.cli.compare_femux import verdict
from streams.errors import LogUnreadable
from streams.lab.compare.femux import FemuxScore, read, scores
from streams.settings import Settings

COLUMNS = "app,minute,containers,mem_mb,knative_cold,knative_alloc_gbs,femux_cold,femux_alloc_gbs,used_gbs"


def table(folder: Path) -> Path:
    rows = [f"a,{minute},1,1000,1,60,1,90,30" for minute in range(0, 1440, 10)]
    text = "\n".join([COLUMNS, *rows, "unscored,3,1,500,1,9,,,2"])
    (folder / "minutes.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("femux"))


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, FemuxScore]:
    (day,) = read(folder)
    return scores(day, Settings())


def test_a_score_counts_cold_starts_and_memory_not_used() -> None:
    assert FemuxScore(cold=10, gbs=199.38, used_gbs=99.69).rum == pytest.approx(9.08)


def test_only_applications_with_results_of_femux_are_read(folder: Path) -> None:
    (day,) = read(folder)
    assert (sum(day.containers), day.gb, day.used_gbs) == (144, 1.0, 144 * 30)
    assert day.published["FeMux"] == FemuxScore(cold=144, gbs=144 * 90, used_gbs=144 * 30)


def test_a_keep_alive_of_ten_minutes_spares_all_but_the_first(
    found: dict[str, FemuxScore],
) -> None:
    assert found["keep-alive 10 min"].cold == 1
    assert found["keep-alive 10 min"].gbs == 1440 * 60
    assert found["keep-alive 5 min"].cold == 144


def test_the_stages_find_a_repeat_and_wait_seldom(found: dict[str, FemuxScore]) -> None:
    assert found["foremesh"].cold < 144 / 5
    assert found["foremesh"].gbs < 1.1 * found["knowing the next minute"].gbs


def test_the_command_shows_all_policies_and_says_what_follows(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    said = CliRunner().invoke(
        command,
        [str(folder), "--table", "femux", "--json", str(out)],
        obj=Settings(),
        catch_exceptions=False,
    )
    assert said.exit_code == 0
    assert "FeMux" in said.output
    assert {"policy", "rum"} <= json.loads(out.read_text())[0].keys()


def test_the_verdict_says_by_how_much_foremesh_is_ahead(found: dict[str, FemuxScore]) -> None:
    assert "below FeMux" in verdict(found)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable):
        read(tmp_path)
