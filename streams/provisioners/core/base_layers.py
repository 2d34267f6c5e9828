"""Which base a constituent starts from, and how much room a start takes with and without it."""

from __future__ import annotations

from collections.abc import Callable

from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.records.catalog import Catalog, Constituent, Resources

__all__ = ["BaseLayers"]


class BaseLayers:
    """The bases of a pool; one instance of a base serves any number of forks.

    Parameters
    ----------
    ledger
        The instances of the pool.
    catalog
        Returns the current catalogue.
    forks
        Whether this provisioner can fork instances from others. If not, a base is an ordinary
        constituent and no start waits for it.
    """

    def __init__(
        self, ledger: InstanceLedger, catalog: Callable[[], Catalog], *, forks: bool
    ) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._forks = forks

    def is_base(self, service: str) -> bool:
        """Whether other constituents are forked from this one."""
        return self._forks and service in self._catalog().bases

    def base_of(self, constituent: Constituent) -> Constituent | None:
        """Return the base to fork from; None for a base itself, or one not in the catalogue."""
        if not self._forks or not constituent.base or self.is_base(constituent.service):
            return None
        return self._catalog().constituents.get(constituent.base)

    def missing_base(self, constituent: Constituent) -> Constituent | None:
        """Return the base that must be started first, if none is warm or starting."""
        base = self.base_of(constituent)
        return base if base and not self._ledger.usable_base(base.service) else None

    def start_needs(self, constituent: Constituent) -> Resources:
        """Resources that a start takes now, its base included where that is missing."""
        missing = self.missing_base(constituent)
        return constituent.needs + (missing.needs if missing else Resources())

    def full_needs(self, constituent: Constituent) -> Resources:
        """Resources of an instance and its base, whether the base runs or not."""
        base = self.base_of(constituent)
        return constituent.needs + (base.needs if base else Resources())

    def usable_base(self, constituent: Constituent) -> HeldInstance | None:
        """Return the instance to fork from, warm or starting."""
        base = self.base_of(constituent)
        return self._ledger.usable_base(base.service) if base else None
