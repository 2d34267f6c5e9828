"""The objects of one kind, listed in pages and then watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Generic, TypeVar

from httpx2 import HTTPError
from lightkube import AsyncClient

__all__ = ["PAGE", "WatchedKind"]

ObjectT = TypeVar("ObjectT")

PAGE = 500  # objects of one answer
_RETRY_S = 1.0  # pause before they are listed again
_RELIST_S = 300.0  # of a watch: a server that went away without a word ends none


class WatchedKind(Generic[ObjectT]):
    """The objects of a kind that have these labels, and those labels at all that `present` names.

    Parameters
    ----------
    client
        A client of one namespace.
    kind
        The class of the objects.
    labels, present
        Labels that all have, with their values, and one that all have with whatever value.
    """

    def __init__(
        self, client: AsyncClient, kind: type[Any], labels: Mapping[str, str], present: str
    ) -> None:
        self._client, self._kind = client, kind
        self._labels: dict[str, Any] = dict(labels)  # lightkube's type: values may be operators
        self._present = present

    async def listed(self) -> tuple[list[ObjectT], str]:
        """Return all, and the resource version of the list."""
        pages = self._client.list(self._kind, labels=self._labels, chunk_size=PAGE)
        with _answers():
            found = [one async for one in pages if self._is_meant(one)]
            return found, pages.resourceVersion

    async def follow(
        self,
        version: str,
        see: Callable[[str, ObjectT], None],
        replace: Callable[[Sequence[ObjectT]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Watch from a resource version, for ever.

        Parameters
        ----------
        see
            Called with each change: its kind, as Kubernetes names it, and the object.
        replace
            Called with all objects, when they had to be listed again.
        failed
            Called with what went wrong.
        """
        while True:
            try:
                async with asyncio.timeout(_RELIST_S):
                    await self._watch(version, see)
            except TimeoutError:
                pass
            except HTTPError as error:
                failed(error)
                await asyncio.sleep(_RETRY_S)
            try:
                found, version = await self.listed()
            except HTTPError as error:
                failed(error)
                await asyncio.sleep(_RETRY_S)
            else:
                replace(found)

    async def _watch(self, version: str, see: Callable[[str, ObjectT], None]) -> None:
        async with aclosing(self._changes(version)) as changes:
            async for change, one in changes:
                see(change, one)

    async def _changes(self, version: str) -> AsyncGenerator[tuple[str, ObjectT], None]:
        watch = self._client.watch(self._kind, labels=self._labels, resource_version=version)
        with _answers():
            async for change, one in watch:
                if self._is_meant(one):
                    yield change, one

    def _is_meant(self, one: Any) -> bool:
        there = (one.metadata and one.metadata.labels) or {}
        return self._present in there and all(there.get(k) == v for k, v in self._labels.items())


@contextmanager
def _answers() -> Iterator[None]:
    """Tell an answer that broke off, or is a proxy's and not of the API server, as any failure."""
    try:
        yield
    except ValueError as error:
        raise HTTPError(f"the answer is no JSON: {error}") from error
