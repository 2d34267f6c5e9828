from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingInvalid
from streams.runtime.token_file import dashboard_token_of, token_of, users_token_of
from streams.settings import Settings

TOKENS = {
    "token_file": token_of,
    "users_token_file": users_token_of,
    "dashboard_token_file": dashboard_token_of,
}


@pytest.mark.parametrize("setting", TOKENS)
def test_a_token_that_cannot_be_used_is_told_with_its_own_setting(
    setting: str, tmp_path: Path
) -> None:
    settings = Settings.from_env({Settings.variable(setting): str(tmp_path)})

    with pytest.raises(SettingInvalid, match=f"set {Settings.variable(setting)} to a file"):
        TOKENS[setting](settings)
