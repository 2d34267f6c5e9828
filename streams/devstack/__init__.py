"""The local stack: Kafka and PostgreSQL as child processes, without Docker and without root."""

from __future__ import annotations

from streams.devstack.stack import Stack, env_of

__all__ = ["Stack", "env_of"]
