"""When the paths of an access log name more services than were found."""

from __future__ import annotations

import re

import pytest

from streams.adapters.logs.path_tally import MOST_PATHS, MOST_SERVICES, PathTally


def tally_of(*paths: str) -> PathTally:
    tally = PathTally()
    for path in paths:
        tally.note(path, re.sub("^https?://[^/]*", "", path).split("/")[1])
    return tally


@pytest.mark.parametrize(
    ("paths", "pattern"),
    [
        (["/api/v1/pay/7?x=1", "/api/v1/search"], r"/api/v\d+/([^/?#]+)"),
        (["/api/v1/pay", "/api/v2/search"], r"/api/v\d+/([^/?#]+)"),
        (["/a.b/pay", "/a.b/search#there", "/a.b"], r"/a\.b/([^/?#]+)"),
        (["/api", "/api/v1/pay", "/api/v1/search"], r"/api/v\d+/([^/?#]+)"),
        (["/api/v1/pay", "/api//v1//search"], r"/+api/+v\d+/+([^/?#]+)"),
        (["http://shop/api/pay", "http://shop/api/search"], r"/api/([^/?#]+)"),
    ],
)
def test_what_follows_a_common_beginning_is_told_with_what_finds_it(
    paths: list[str], pattern: str
) -> None:
    found = tally_of(*paths).deeper()

    assert found is not None
    assert found[0] == pattern
    assert sorted(found[1]) == ["pay", "search"]
    hits = [hit for path in paths if (hit := re.search(found[0], path))]
    assert {hit[1] for hit in hits} == {"pay", "search"}


@pytest.mark.parametrize(
    "paths",
    [
        [],
        ["/pay", "/search"],
        ["/pay?n=1", "/pay?n=2"],
        ["/pay/v1", "/pay/v2"],
        ["/pay/7", "/pay/8"],
        [f"/users/{n}" for n in range(MOST_SERVICES + 1)],
    ],
)
def test_nothing_is_said_of_several_services_of_ids_and_of_one_path(paths: list[str]) -> None:
    assert tally_of(*paths).deeper() is None


def test_another_service_is_seen_after_more_paths_than_are_remembered() -> None:
    tally = tally_of("/api/pay", *(f"/api/search/{n}" for n in range(MOST_PATHS + 1)))
    assert tally.deeper() is not None

    tally.note("/other", "other")

    assert tally.deeper() is None
