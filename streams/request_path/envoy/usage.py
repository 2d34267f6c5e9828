"""Reports of use to the provisioner, from what the access log saw served."""

from __future__ import annotations

from collections import defaultdict

import aiohttp

from streams.provisioners.core.interface import InstanceUse
from streams.request_path.core.warm_pool import reported

__all__ = ["UsageCounter"]

_QUIET = 4  # reports without a request, until an instance counts as idle
_MOST = 100_000


class UsageCounter:
    """Use of instances that serve many requests at once.

    The log tells when a request has ended, not that one is being served: an instance counts as in
    use for a moment after each.

    Parameters
    ----------
    url
        The provisioner's.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/use"
        self._served: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # count, ms
        self._quiet: dict[str, int] = {}  # instance in use -> reports since its last request

    def add(self, instance_id: str, served_ms: int) -> None:
        """Note a request that was served."""
        if len(self._served) < _MOST or instance_id in self._served:
            served = self._served[instance_id]
            served[0] += 1
            served[1] += served_ms

    def news(self) -> list[InstanceUse]:
        """What is to be reported now."""
        served = dict(self._served)
        self._served.clear()
        self._quiet = {name: n + 1 for name, n in self._quiet.items()} | dict.fromkeys(served, 0)
        over = [name for name, n in self._quiet.items() if n >= _QUIET]
        for name in over:
            del self._quiet[name]
        uses = [
            InstanceUse(instance_id=name, in_flight=1, uses=count, busy_ms=ms)
            for name, (count, ms) in served.items()
        ]
        return uses + [InstanceUse(instance_id=name, in_flight=0) for name in over]

    async def report(self, session: aiohttp.ClientSession) -> None:
        """Tell the provisioner; what does not arrive is told with the next."""
        uses = self.news()
        if not uses:
            return
        body = reported(uses)
        limit = aiohttp.ClientTimeout(total=2)
        try:
            async with session.post(self._url, json=body, timeout=limit) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            for use in uses:
                served = self._served[use.instance_id]
                served[0] += use.uses
                served[1] += use.busy_ms
