"""Serialises the allocator's state, trials included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from typing import Any
from zlib import compress, decompress
from zlib import error as ZlibError  # noqa: N812  # an exception

from streams.allocator import state
from streams.allocator.constituent_past import ConstituentPast
from streams.allocator.demanded import DemandedNumber
from streams.allocator.simulated_pool import SimulatedPool
from streams.allocator.state import PAST, SHARED, SHARED_1, TRIAL, PoolState
from streams.allocator.trial import TrialArm, TrialState
from streams.models.keep_warm.own_past import KeepWarmCosts, OwnPast
from streams.models.keep_warm.shared_weights import SharedWeights
from streams.records import Demand
from streams.records.control import Variant
from streams.records.trials import Score
from streams.stages.planned_pool import planned_form, planned_of
from streams.stages.row_encoding import from_row, to_row

__all__ = ["AllocatorRow", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class FormerShared:
    """What an earlier release shared between pasts; they are summed anew."""


AllocatorRow = PoolState | Demand | TrialState | ConstituentPast | SharedWeights | FormerShared
FAST = 1  # level of compression: most of a past is zeros


def encode(row: AllocatorRow) -> bytes:
    """Serialise a row of any kind."""
    match row:
        case TrialState():
            return to_row(TRIAL, [row.since_ms, row.told_ms, [_arm_form(arm) for arm in row.arms]])
        case ConstituentPast():
            past = compress(bytes(row.past), FAST)
            return to_row(PAST, [past, row.costs, row.uses, row.tier, astuple(row.demanded)])
        case SharedWeights():
            return to_row(SHARED, [bytes(row), row.pasts])
        case FormerShared():
            return to_row(SHARED_1, [b"", 0])
        case _:
            return state.encode(row)


def decode(data: bytes) -> AllocatorRow:
    """Deserialise a row of any kind."""
    made = _MADE.get(data[:1])
    if made is None:
        return state.decode(data)
    _, value = from_row(data, range(TRIAL, SHARED + 1))
    return made(*value)


def _past_of(
    past: bytes, costs: list[float], uses: int, tier: str, demanded: list[int]
) -> ConstituentPast:
    try:
        plain = decompress(past)
    except ZlibError as error:
        raise ValueError(f"the past of a constituent is damaged: {error}") from error
    known, numbers = KeepWarmCosts(*costs), DemandedNumber(*demanded)
    return ConstituentPast(OwnPast.of(plain), known, uses, tier, numbers)


def _trial_of(since_ms: int, told_ms: int, arms: list[Any]) -> TrialState:
    return TrialState(since_ms, tuple(_arm_of(*arm) for arm in arms), told_ms)


def _arm_form(arm: TrialArm) -> list[Any]:
    simulated = [
        asdict(arm.simulated.score),
        arm.simulated.at_ms,
        planned_form(arm.simulated.planned),
    ]
    return [asdict(arm.variant), simulated, state.pool_form(arm.state)]


def _arm_of(variant: dict[str, Any], simulated: list[Any], row: list[Any]) -> TrialArm:
    score, at_ms, planned = simulated
    pool = SimulatedPool(Score(**score), at_ms, planned_of(planned))
    return TrialArm(Variant(**variant), pool, state.pool_of(row))


_MADE: dict[bytes, Callable[..., AllocatorRow]] = {
    bytes((TRIAL,)): _trial_of,
    bytes((PAST,)): _past_of,
    bytes((SHARED_1,)): lambda *_: FormerShared(),
    bytes((SHARED,)): SharedWeights.of,
}
