"""What a check of one part found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PartFinding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFinding:
    """What one check found: `foremesh doctor` makes it, and the dashboard shows it."""

    check: str
    ok: bool
    says: str  # a sentence, with the fix when not ok
    there: bool = True  # whether it runs at all, as far as can be seen

    @property
    def state(self) -> str:
        """Its state in a word."""
        if not self.ok:
            return "wrong"
        return "well" if self.there else "not running"
