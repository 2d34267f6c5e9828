"""The local stack: Kafka and PostgreSQL as child processes, without Docker or root rights."""

from __future__ import annotations

from streams.devstack.stack import LocalStack, env_of

__all__ = ["LocalStack", "env_of"]
