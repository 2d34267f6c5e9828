"""Which constituents start from which, and what room a start needs for it."""

from __future__ import annotations

from collections.abc import Callable

from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.records.catalog import Catalog, Constituent, Resources

__all__ = ["BaseLayers"]


class BaseLayers:
    """The bases of a pool: one instance of each is enough, however many start from it.

    Parameters
    ----------
    ledger
        The instances of the pool.
    catalog
        Gives the catalogue as it stands.
    forks
        Whether instances can be started from others here; where they cannot, a base is a
        constituent like any other, and no start waits for it.
    """

    def __init__(
        self, ledger: InstanceLedger, catalog: Callable[[], Catalog], *, forks: bool
    ) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._forks = forks

    def lends(self, service: str) -> bool:
        """Whether instances of a constituent are there for others to start from."""
        return self._forks and service in self._catalog().bases

    def below(self, constituent: Constituent) -> Constituent | None:
        """What it starts from; a base that is not in the catalogue is none, nor is a second layer."""
        if not self._forks or not constituent.base or self.lends(constituent.service):
            return None
        return self._catalog().constituents.get(constituent.base)

    def missing(self, constituent: Constituent) -> Constituent | None:
        """The base that must be started first: none is warm, or about to be."""
        below = self.below(constituent)
        return below if below and not self._ledger.lender(below.service) else None

    def needs(self, constituent: Constituent) -> Resources:
        """The room that a start takes now."""
        missing = self.missing(constituent)
        return constituent.needs + (missing.needs if missing else Resources())

    def most(self, constituent: Constituent) -> Resources:
        """The room that a start takes when there is no base yet."""
        below = self.below(constituent)
        return constituent.needs + (below.needs if below else Resources())

    def lender(self, constituent: Constituent) -> HeldInstance | None:
        """The instance that it starts from, where there is one."""
        below = self.below(constituent)
        return self._ledger.lender(below.service) if below else None
