from __future__ import annotations

import ast
import json
from pathlib import Path

from documented import documented, serves

from streams.catalog import yaml_reader


async def test_the_documented_instance_becomes_warm_serves_and_ends(tmp_path: Path) -> None:
    program = tmp_path / "pricing.py"
    program.write_text(documented("python")[0])

    await serves(["{python}", str(program)])


def test_the_documented_entry_of_a_catalogue_can_be_loaded() -> None:
    [entry] = documented("yaml")
    base = yaml_reader.parse(entry).constituents["base"]
    assert json.loads(base.warm_up_body)["prompt"]


def test_every_documented_program_is_python() -> None:
    for code in documented("python"):
        ast.parse(code)
