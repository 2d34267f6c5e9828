"""The row of a constituent: its own past, and what that was told of costs and demand."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.allocator.demanded import DemandedNumber
from streams.models.keep_warm.hedge import Weights
from streams.models.keep_warm.own_past import AdviceAhead, KeepWarmCosts, OwnPast

__all__ = ["ConstituentPast"]

UNTOLD = KeepWarmCosts(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class ConstituentPast:
    """The past of one constituent, and what it was told of costs; immutable.

    Attributes
    ----------
    costs
        At its last change. Advice follows from them and the past alone, however often it is asked.
    uses
        Requests so far.
    tier
        That of the last request.
    demanded
        What the demand alone would keep.
    """

    past: OwnPast = field(default_factory=OwnPast)
    costs: KeepWarmCosts = UNTOLD
    uses: int = 0
    tier: str = ""
    demanded: DemandedNumber = field(default_factory=DemandedNumber)
    _ahead: list[AdviceAhead] = field(default_factory=list, init=False)

    @property
    def ahead(self) -> AdviceAhead:
        """The number of requests to be ready for at later times."""
        if not self._ahead:
            self._ahead.append(self.past.ahead(self.costs))
        return self._ahead[0]

    def naming(
        self,
        demanded: DemandedNumber,
        at_ms: int,
        costs: KeepWarmCosts,
        prior: Weights | None = None,
    ) -> ConstituentPast:
        """The row when the demand alone would keep another number."""
        if demanded == self.demanded:
            return self
        past = self.past.naming(demanded.number, at_ms, costs, ready=demanded.ready, prior=prior)
        return ConstituentPast(past, costs, self.uses, self.tier, demanded)
