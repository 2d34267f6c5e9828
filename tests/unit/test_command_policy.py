from __future__ import annotations

import pytest

from streams.errors import SettingInvalid
from streams.provisioners.local.command_policy import CommandPolicy


def allows(pattern: str, *words: str) -> bool:
    return CommandPolicy.of([pattern]).allows(words)


def test_nothing_may_be_started_unless_it_is_listed() -> None:
    assert not CommandPolicy().allows(["sh", "-c", "true"])
    assert CommandPolicy.of([], [("sh", "-c", "true")]).allows(["sh", "-c", "true"])
    assert not CommandPolicy.of([], [("sh", "-c", "true")]).allows(["sh", "-c", "true; x"])


def test_a_pattern_is_matched_word_by_word() -> None:
    assert allows("{python} -m shop.*", "{python}", "-m", "shop.pricing")
    assert not allows("{python} -m shop.*", "{python}", "-m", "shop.pricing", "-c", "x")
    assert not allows("{python} -m shop.*", "{python}", "-m", "other")
    assert not allows("{python} -m shop.*", "{python} -m shop.pricing")
    assert allows("run 'two words'", "run", "two words")


def test_a_star_at_the_end_is_the_rest() -> None:
    assert allows("/opt/shop/run *", "/opt/shop/run")
    assert allows("/opt/shop/run *", "/opt/shop/run", "--port", "../1")
    assert allows("*", "anything", "at", "all")
    assert not allows("/opt/shop/run *", "/opt/shop/runner")


@pytest.mark.parametrize("word", ["/opt/a/../run", "/opt/../run", "/opt/a/b/run", "/opt/run"])
def test_a_star_leads_neither_up_nor_down(word: str) -> None:
    assert not allows("/opt/*/run", word)
    assert allows("/opt/*/run", "/opt/shop/run")


def test_what_looks_like_another_pattern_is_taken_by_the_letter() -> None:
    assert not allows("a.c", "abc")
    assert not allows("[ab]", "a")
    assert allows("[ab]", "[ab]")


def test_a_pattern_that_cannot_be_read_is_told() -> None:
    with pytest.raises(SettingInvalid, match="--allow-command cannot be read"):
        CommandPolicy.of(["run 'two"])


def test_instances_get_no_variable_that_is_not_listed() -> None:
    variables = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONPATH": "/srv",
        "MODEL_FOLDER": "/models",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PGPASSWORD": "s",
        "FOREMESH_KAFKA_PASSWORD": "s",
    }
    kept = CommandPolicy.of([], passed=["MODEL_*", "FOREMESH_*"]).environment(variables)

    assert kept.keys() == {"PATH", "LC_ALL", "PYTHONPATH", "MODEL_FOLDER"}
