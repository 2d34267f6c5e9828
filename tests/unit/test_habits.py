"""What runs before a commit is what `make check` runs, and what is pinned twice is pinned alike."""

from __future__ import annotations

import re

from harness import CHECKOUT
from ruamel.yaml import YAML


def hooks() -> list[dict[str, object]]:
    [repository] = YAML(typ="safe").load(CHECKOUT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    return list(repository["hooks"])


def checks() -> list[str]:
    """The commands of `make check`."""
    text = (CHECKOUT / "Makefile").read_text()
    found = re.search(r"^check:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return found[1].replace("$(BIN)", ".venv/bin").replace("\t", "").splitlines()


def test_before_a_commit_the_commands_of_make_check_run() -> None:
    assert [hook["entry"] for hook in hooks()] == checks()


def test_they_come_from_the_environment_of_the_checkout_and_look_at_all_of_it() -> None:
    for hook in hooks():
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False


def pinned(name: str) -> dict[str, str]:
    """The packages of a lock, each with its version and when it is wanted."""
    text = (CHECKOUT / "deploy" / name).read_text()
    return {
        line: line.partition("==")[0] for line in re.findall(r"^(\S+==.*?) \\$", text, re.MULTILINE)
    }


def test_the_image_has_the_pins_of_the_lock_less_what_it_leaves_out() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    left_out = re.findall(r"^NOT_IN_IMAGE := (.*)$", makefile, re.MULTILINE)[0].split()
    everywhere, image = pinned("requirements.txt"), pinned("requirements-image.txt")

    assert set(left_out) <= set(everywhere.values())
    assert not set(left_out) & set(image.values())
    versions = {line.partition(" ;")[0] for line in everywhere}
    assert {line.partition(" ;")[0] for line in image} - versions == set()
