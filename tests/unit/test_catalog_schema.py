"""The form of a catalogue as editors and people are told it: it is what the reader takes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from harness import CHECKOUT
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from streams.catalog.fields import SECTIONS
from streams.catalog.schema import json_schema, markdown
from streams.catalog.yaml_reader import parse
from streams.errors import CatalogInvalid

SCHEMA = Draft202012Validator(json_schema())
KEYS = [(section, key) for section, keys in SECTIONS.items() for key in keys]
NEEDED = {
    "constituents": "cpu: 1, memory: 1, warm_up_ms: 1, price: 1",
    "composites": "steps: [stock]",
    "tiers": "weight: 1, sla_ms: 1",
    "pools": "cpu: 9000, memory: 9000, bandwidth: 9000",
}


def catalogue(section: str, entry: str) -> str:
    """A catalogue with this entry of a section, and what that needs."""
    others = {
        "constituents": "model: {cpu: 1, memory: 1, warm_up_ms: 1, price: 1}",
        "composites": "draw: [stock]",
        "tiers": "standard: {weight: 1, sla_ms: 1}",
        "pools": "default: {cpu: 9000, memory: 9000, bandwidth: 9000}",
    }
    others["constituents"] += (
        "\n  pricing: {cpu: 1, memory: 1, warm_up_ms: 1, price: 1}"
        "\n  stock: {cpu: 1, memory: 1, warm_up_ms: 1, price: 1}"
        "\n  payment: {cpu: 1, memory: 1, warm_up_ms: 1, price: 1}"
    )
    others[section] += f"\n  one: {{{entry}}}"
    return "".join(f"{name}:\n  {text}\n" for name, text in others.items())


def value(text: str) -> Any:
    return YAML(typ="safe").load(io.StringIO(text))


def taken(text: str) -> bool:
    try:
        parse(text)
    except CatalogInvalid:
        return False
    return True


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_page_is_what_the_keys_say() -> None:
    assert (CHECKOUT / "docs" / "reference" / "catalog.md").read_text() == markdown()


def test_the_catalogue_of_the_page_is_one() -> None:
    text = markdown().split("```yaml\n")[1].split("```")[0]
    assert taken(text)
    SCHEMA.validate(value(text))


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_the_example_of_every_key_is_taken(section: str, key: str) -> None:
    needed = [part for part in NEEDED[section].split(", ") if not part.startswith(f"{key}:")]
    text = catalogue(section, ", ".join([*needed, f"{key}: {SECTIONS[section][key].example}"]))
    assert taken(text)
    SCHEMA.validate(value(text))


@pytest.mark.parametrize(("section", "key"), KEYS)
@pytest.mark.parametrize("wrong", ["{}", "[[[]]]", "-1e300", "null"])
def test_what_the_schema_refuses_of_a_key_the_reader_refuses_too(
    section: str, key: str, wrong: str
) -> None:
    needed = [part for part in NEEDED[section].split(", ") if not part.startswith(f"{key}:")]
    text = catalogue(section, ", ".join([*needed, f"{key}: {wrong}"]))
    assert taken(text) <= SCHEMA.is_valid(value(text))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_key_that_is_missing_or_unknown_is_refused_by_both(section: str) -> None:
    first, *others = NEEDED[section].split(", ")
    for entry in (", ".join(others), f"{first}, unknown: 1, {', '.join(others)}".rstrip(", ")):
        text = catalogue(section, entry)
        assert not taken(text)
        assert not SCHEMA.is_valid(value(text))


@pytest.mark.parametrize("character", [r"\0", r"\n", r"\e", r"\x7f", r"\x9b"])
def test_a_name_with_a_control_character_is_refused_by_both(character: str) -> None:
    text = catalogue("tiers", NEEDED["tiers"]).replace("one:", f'"o{character}e":')
    assert not taken(text)
    assert not SCHEMA.is_valid(value(text))
    assert taken(text.replace(character, "\N{NO-BREAK SPACE}"))


def test_a_command_with_a_nul_is_refused_and_one_of_several_lines_is_not() -> None:
    text = catalogue("constituents", NEEDED["constituents"] + r', command: ["sh", "a\nb"]')
    assert taken(text)
    assert not taken(text.replace(r"\n", r"\0"))


def test_sections_of_ones_own_are_taken_by_both() -> None:
    text = "x-usual: {cpu: 1}\n" + catalogue("tiers", NEEDED["tiers"])
    assert taken(text)
    SCHEMA.validate(value(text))
