from __future__ import annotations

from pathlib import Path

import pytest

from streams.demo.processes import DemoProcesses, until


def test_an_interrupt_that_was_lost_comes_again_where_something_is_waited_for(
    tmp_path: Path,
) -> None:
    company = DemoProcesses(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        company.interrupt()
    with pytest.raises(KeyboardInterrupt):
        until(lambda: False, 60.0, "nothing came", company.check)
