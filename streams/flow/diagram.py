"""The flow as a drawing."""

from __future__ import annotations

from streams.flow.declaration import FlowTopology
from streams.flow.topology import TOPOLOGY

__all__ = ["mermaid"]


def mermaid(topology: FlowTopology = TOPOLOGY) -> str:
    """The flow as a Mermaid diagram."""
    lines = ["flowchart LR"]
    for stage in topology.stages.values():
        node = f"{stage.name}_stage[{stage.name}]"  # a topic may have the same name
        lines += [f"  {topic}([{topic}]) --> {node}" for topic in stage.reads]
        lines += [f"  {topic}([{topic}]) -.-> {node}" for topic in stage.views]
        lines += [f"  {node} --> {topic}([{topic}])" for topic in stage.writes]
    return "\n".join(lines)
