"""Serialises the allocator's state, trials included."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from streams.allocator import state
from streams.allocator.simulated_pool import SimulatedPool
from streams.allocator.state import TRIAL, PoolState
from streams.allocator.trial import TrialArm, TrialState
from streams.records import Demand
from streams.records.control import Variant
from streams.records.trials import Score
from streams.stages.planned_provisioner import planned_form, planned_of
from streams.stages.row_encoding import from_row, to_row

__all__ = ["AllocatorRow", "decode", "encode"]

AllocatorRow = PoolState | Demand | TrialState


def encode(row: AllocatorRow) -> bytes:
    """Serialise a row of any kind."""
    if not isinstance(row, TrialState):
        return state.encode(row)
    return to_row(TRIAL, [row.since_ms, row.told_ms, [_arm_form(arm) for arm in row.arms]])


def decode(data: bytes) -> AllocatorRow:
    """Deserialise a row of any kind."""
    if data[:1] != bytes((TRIAL,)):
        return state.decode(data)
    _, (since_ms, told_ms, arms) = from_row(data, range(TRIAL, TRIAL + 1))
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
