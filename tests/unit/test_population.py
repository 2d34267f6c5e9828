from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams import demo
from streams.catalog import yaml_reader
from streams.demo.constituent import IndexedModel, model_file
from streams.demo.pace import affordable_rate
from streams.demo.population import SyntheticPopulation

CATALOGUE = yaml_reader.load(Path(demo.__file__).with_name("catalogue.yaml"))
TIERS = {"gold": 0.1, "silver": 0.3, "bronze": 0.6}


def population(seed: int = 7, users: int = 200) -> SyntheticPopulation:
    return SyntheticPopulation(list(CATALOGUE.composites), TIERS, users, seed)


def test_the_catalogue_has_24_composites_of_28_constituents_and_a_base() -> None:
    assert (len(CATALOGUE.composites), len(CATALOGUE.constituents)) == (24, 29)
    assert CATALOGUE.bases == {"studio"}
    assert CATALOGUE.tiers.keys() == TIERS.keys()


def test_a_seed_decides_everything() -> None:
    assert population().live(60, 3) == population().live(60, 3)
    assert population().past() == population().past()
    assert population().live(60, 3) != population(seed=8).live(60, 3)


def test_the_load_has_the_rate_asked_for_and_comes_in_order() -> None:
    asks = population().live(600, 3)

    assert len(asks) / 600 == pytest.approx(3, rel=0.15)
    assert [ask.at_s for ask in asks] == sorted(ask.at_s for ask in asks)
    assert all(0 <= ask.at_s < 600 for ask in asks)


def test_users_have_habits_that_can_be_learnt() -> None:
    follows: dict[tuple[str, str], Counter[str]] = {}
    last: dict[str, str] = {}
    for ask in population().past():
        if ask.user in last:
            follows.setdefault((ask.user, last[ask.user]), Counter())[ask.service] += 1
        last[ask.user] = ask.service
    often = sum(counts.most_common(1)[0][1] for counts in follows.values())

    assert often / sum(counts.total() for counts in follows.values()) > 0.6


def test_some_users_drift_half_way() -> None:
    drifters = [user for user in population().people if user.later is not user.habit]

    assert 20 < len(drifters) < 60


def test_a_slow_machine_is_asked_for_less() -> None:
    fast, slow = (affordable_rate(CATALOGUE, starts_s, 2) for starts_s in (0.25, 2.5))

    assert fast > 4 * slow
    assert affordable_rate(CATALOGUE, 1e6, 2) > 0


def test_a_model_is_written_once_and_read_whole(tmp_path: Path) -> None:
    path = model_file(tmp_path, 1)
    written = path.stat().st_mtime_ns
    model = IndexedModel(model_file(tmp_path, 1).read_bytes(), index=10)

    assert path.stat().st_mtime_ns == written
    assert len(model.index) == 10
    assert model.serve(3) == model.serve(3)
