from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.catalog.yaml_writer import dump
from streams.cli import cli
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier

CATALOG = Catalog.of(
    [
        Constituent(service="base", needs=Resources(cpu=1.0), warm_up_ms=20_000, price=1.0),
        Composite(service="draw", steps=(("base",),)),
        Tier(tier="standard", weight=0.1, sla_ms=1_000),
        Pool(pool="default", capacity=Resources(cpu=8.0)),
    ]
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Thirty requests of one user, half a minute apart, and a row that is none."""
    rows = [f"ann,draw,{1_700_000_000 + 30 * i}" for i in range(30)]
    rows.insert(7, "ann,draw,soon")
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user,service,time", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(dump(CATALOG), encoding="utf-8")
    return path


def foremesh(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["replay", *map(str, arguments)])


def test_a_replay_reports_what_would_have_been_as_json(log: Path, catalog: Path) -> None:
    found = foremesh(log, "--catalog", catalog, "--output", "json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    pool = report["pools"]["default"]
    assert pool["requests"] == report["records"]["Prediction"] == report["records"]["Outcome"] == 30
    assert pool["hit_rate"] > 0.5
    assert pool["instances"]["warm_s"] > 0
    assert sum(report["not_used"].values()) == 1


def test_a_replay_reports_tables(log: Path, catalog: Path) -> None:
    found = foremesh(log, "--catalog", catalog, "--limit", "10")
    assert found.exit_code == 0, found.output
    for title in ("Requests", "By service", "Records made", "Not used"):
        assert title in found.stdout


def test_a_replay_of_which_nothing_could_be_used_tells_no_time(
    tmp_path: Path, catalog: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,service,time\nann,paint,1700000000\n", encoding="utf-8")

    found = foremesh(path, "--catalog", catalog)
    report = json.loads(foremesh(path, "--catalog", catalog, "--output", "json").stdout)

    assert found.exit_code == 0
    assert "There is no request and no instance." in found.stdout
    assert "service 'paint' is not in the catalogue" in found.stdout
    assert "1970" not in found.stdout
    assert (report["from"], report["to"]) == (None, None)


def test_without_a_catalogue_one_is_inferred(log: Path) -> None:
    found = foremesh(log, "--output", "json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["pools"]["default"]["requests"] == 30
    assert "every service stands for itself" in found.stderr


def test_a_pipe_needs_a_catalogue_too(tmp_path: Path) -> None:
    pipe = tmp_path / "log.csv"
    os.mkfifo(pipe)
    result = foremesh(pipe)
    assert result.exit_code == 2
    assert "log.csv is read once only" in " ".join(result.output.split())


def test_a_device_needs_a_catalogue_too() -> None:
    found = foremesh(os.devnull)
    assert found.exit_code == 2
    assert f"{os.devnull} is read once only: name a catalogue" in " ".join(found.output.split())


def test_standard_input_needs_a_catalogue() -> None:
    found = foremesh("-")
    assert found.exit_code == 2
    assert "--catalog" in found.output
