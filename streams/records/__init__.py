"""The vocabulary: what travels on the topics, one module a family; no behaviour and no I/O.

Every record is frozen and keyword-only; times are integer milliseconds since the epoch
(event time), durations are milliseconds, sizes carry their unit in the comment.
"""

from __future__ import annotations

from streams.records.catalog import CatalogEntry
from streams.records.commands import Action, Command, Utilisation
from streams.records.control import Control
from streams.records.dead_letters import DeadLetter
from streams.records.instances import (
    ColdStart,
    Instance,
    InstanceState,
    LoggedUse,
    MeasuredWarmUp,
)
from streams.records.outcomes import Feedback, Outcome, Part, Result, Route
from streams.records.predictions import Demand, Prediction, ServiceDemand, ServiceProbability
from streams.records.requests import Request, Source, Watermark
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = [
    "Action",
    "ColdStart",
    "Command",
    "DeadLetter",
    "Demand",
    "Feedback",
    "Instance",
    "InstanceState",
    "LoggedUse",
    "MeasuredWarmUp",
    "Outcome",
    "Part",
    "Prediction",
    "Record",
    "Request",
    "Result",
    "Route",
    "ServiceDemand",
    "ServiceProbability",
    "Source",
    "Utilisation",
    "Watermark",
]

Record = (
    Request
    | Watermark
    | Prediction
    | Demand
    | CatalogEntry
    | Control
    | Utilisation
    | Command
    | Verdict
    | Trial
    | Instance
    | ColdStart
    | LoggedUse
    | Outcome
    | Feedback
    | DeadLetter
)
