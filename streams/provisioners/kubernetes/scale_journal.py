"""What a provisioner notes at a Deployment for its successor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from msgspec.json import Decoder

__all__ = ["MOST_PODS", "ScaleJournal"]

MOST_PODS = 150_000  # of the largest cluster that Kubernetes supports


@dataclass(frozen=True, slots=True)
class ScaleJournal:
    """The wanted number of instances, and the last commands that are included in it.

    Written to an annotation, both at once, before the scale is set: if the provisioner dies in
    between, its successor knows the number to scale to and which commands not to repeat.
    """

    wanted: Annotated[int, Meta(ge=0, le=MOST_PODS)] = 0
    commands: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the text of the annotation."""
        return json.dumps({"wanted": self.wanted, "commands": list(self.commands)})

    @classmethod
    def of(cls, text: str | None) -> ScaleJournal:
        """Parse an annotation; one that we cannot have written counts as empty."""
        try:
            return _JOURNAL.decode(text or "{}")
        except (ValueError, RecursionError):
            return cls()


_JOURNAL = Decoder(ScaleJournal)
