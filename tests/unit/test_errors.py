"""What the module of errors says of itself."""

from __future__ import annotations

import re

from streams import errors
from streams.errors import ForemeshError


def every(kind: type[ForemeshError]) -> set[str]:
    """The names of an error and of all below it, as far as they are of this module."""
    below = [every(one) for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return {kind.__name__}.union(*below)


def test_every_error_is_drawn_and_offered() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+)$", errors.__doc__ or "", re.MULTILINE)

    assert sorted(drawn) == sorted(errors.__all__) == sorted(every(ForemeshError))


def test_every_error_says_by_itself_what_is_wrong_and_what_helps() -> None:
    said = {str(getattr(errors, name)()) for name in errors.__all__}

    assert len(said) == len(errors.__all__)
    assert all(sentence.endswith(".") for sentence in said)
