"""Errors for people: the message of each defaults to its docstring, the fix included.

ForemeshError
├── BrokerUnreachable
├── CatalogInvalid
├── ClusterUnreachable
├── DatabaseUnreachable
│   ├── DatabaseBusy
│   └── DatabaseOutdated
├── DeliveryFailed
├── FaustUntested
├── FileUnwritable
├── FlowStalled
├── LimitsUnavailable
├── LogUnreadable
├── NameUnknown
├── PoolsShared
├── ProvisionerRuns
├── ProvisionerUnusable
├── RightsMissing
├── SettingInvalid
├── StackFailed
├── StageRuns
├── StagesRunApart
├── StateUnreadable
├── ToolMissing
└── TopicsMissing
"""

from __future__ import annotations

from typing import Self

__all__ = [
    "BrokerUnreachable",
    "CatalogInvalid",
    "ClusterUnreachable",
    "DatabaseBusy",
    "DatabaseOutdated",
    "DatabaseUnreachable",
    "DeliveryFailed",
    "FaustUntested",
    "FileUnwritable",
    "FlowStalled",
    "ForemeshError",
    "LimitsUnavailable",
    "LogUnreadable",
    "NameUnknown",
    "PoolsShared",
    "ProvisionerRuns",
    "ProvisionerUnusable",
    "RightsMissing",
    "SettingInvalid",
    "StackFailed",
    "StageRuns",
    "StagesRunApart",
    "StateUnreadable",
    "ToolMissing",
    "TopicsMissing",
]


class ForemeshError(Exception):
    """Something foremesh needs is not as it should be."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @classmethod
    def because(cls, why: str) -> Self:
        """The error with its cause."""
        problem, _, fix = str(cls()).partition(":")
        return cls(f"{problem} ({why}):{fix}")


class BrokerUnreachable(ForemeshError):
    """No Kafka broker answers: set FOREMESH_KAFKA to its host:port, or run `foremesh up`."""


class CatalogInvalid(ForemeshError):
    """The catalogue has errors: mend the lines named and load it again."""


class ClusterUnreachable(ForemeshError):
    """No Kubernetes API server answers: set KUBECONFIG, or run inside the cluster."""


class DatabaseUnreachable(ForemeshError):
    """No PostgreSQL answers: set FOREMESH_POSTGRES to its URL, or run `foremesh up`."""


class DatabaseBusy(DatabaseUnreachable):
    """PostgreSQL answers, but not in time: see pg_stat_activity for what it waits for."""


class DatabaseOutdated(DatabaseUnreachable):
    """The database lacks tables or columns: run `foremesh db migrate`."""


class DeliveryFailed(ForemeshError):
    """Kafka did not take a record in time: see the broker's log, then start again."""


class FaustUntested(ForemeshError):
    """The engine was not tested with this Faust: install faust-streaming 0.15.3."""


class FileUnwritable(ForemeshError):
    """A file cannot be written: name another one."""


class FlowStalled(ForemeshError):
    """Nothing takes the records on Kafka: start `foremesh worker`."""


class LimitsUnavailable(ForemeshError):
    """Instances cannot be limited: use `systemd-run --scope -p Delegate=yes`; as root in version 1."""

    @classmethod
    def because(cls, why: str) -> Self:
        """The error with its cause."""
        problem, _, fix = str(cls()).partition(":")
        return cls(f"{problem}, since {why}:{fix}")


class LogUnreadable(ForemeshError):
    """The request log cannot be read: check the path and the column mapping."""


class NameUnknown(ForemeshError):
    """The catalogue has nothing of that name: see `foremesh catalog show`."""


class PoolsShared(ForemeshError):
    """Pools share what is learnt of users: name all of them, or give each a FOREMESH_PREFIX."""


class ProvisionerRuns(ForemeshError):
    """A provisioner of this pool runs: end it first."""


class ProvisionerUnusable(ForemeshError):
    """A provisioner of another package cannot be used: ask whoever wrote it."""


class RightsMissing(ForemeshError):
    """Kafka or PostgreSQL denies this user a right: see `foremesh acl --help`."""


class SettingInvalid(ForemeshError):
    """A setting has a value that cannot be used: see `foremesh --help`."""


class StackFailed(ForemeshError):
    """The local stack did not start: its logs are under build/stack."""


class StageRuns(ForemeshError):
    """A stage is to begin again while a worker runs it: end that worker first."""


class StagesRunApart(ForemeshError):
    """Stages run in a worker of their own beside the whole flow: end one of both."""


class StateUnreadable(ForemeshError):
    """A changelog holds state that this version cannot read: upgrade foremesh first."""

    @classmethod
    def of(cls, what: str, why: str) -> Self:
        """The error about a part of the state, and both ways out."""
        return cls(
            f"The state of {what} cannot be read ({why}): upgrade foremesh first, or learn it again"
            " with `foremesh worker --rebuild`"
        )


class ToolMissing(ForemeshError):
    """A tool is missing: foremesh's local stack needs Python 3.11+, Java 17+ and Maven."""


class TopicsMissing(ForemeshError):
    """Topics are missing or not as declared: run `foremesh topics create`."""
