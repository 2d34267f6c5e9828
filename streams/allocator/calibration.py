"""Calibrates demand: compares arrivals with expectations, detects bursts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.bursts import ALARM, compare, passed_of
from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.occupancy import Floats

__all__ = ["DemandCalibration", "Pair", "RequestSeries", "SeriesTable", "added", "arrivals"]

Pair = tuple[str, str]  # composite and tier


class RequestSeries(NamedTuple):
    """Arrivals of one composite and tier against their expectation; immutable."""

    alarm: float = 0.0  # CUSUM statistic
    rate: float = 0.0  # recent rate, requests per ms
    asked: float = 0.0  # arrivals, exponentially decayed
    expected: float = 0.0  # expected arrivals, decayed likewise
    ahead: float = 0.0  # rate expected from now on, requests per ms


@dataclass(frozen=True, slots=True, eq=False)
class SeriesTable(Mapping[Pair, RequestSeries]):
    """The series of a pool as columns; immutable: methods that change it return a new one."""

    rows: Mapping[Pair, int] = field(default_factory=dict)  # in order of pairs
    columns: Floats = field(default_factory=lambda: np.zeros((len(RequestSeries._fields), 0)))
    _places: list[tuple[CatalogIndex, Numbers]] = field(default_factory=list)  # once looked up

    @classmethod
    def of(cls, series: Mapping[Pair, RequestSeries]) -> SeriesTable:
        """A table of these series."""
        pairs = sorted(series)
        values = np.array([series[pair] for pair in pairs], np.float64)
        columns = values.reshape(len(pairs), len(RequestSeries._fields)).T.copy()
        return cls({pair: row for row, pair in enumerate(pairs)}, columns)

    def __getitem__(self, pair: Pair) -> RequestSeries:
        return RequestSeries(*self.columns[:, self.rows[pair]].tolist())

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def including(self, pairs: Iterable[Pair]) -> SeriesTable:
        """The table with a row for each of these pairs; new rows are all 0."""
        new = [pair for pair in pairs if pair not in self.rows]
        if not new:
            return self
        rows = {pair: row for row, pair in enumerate(sorted([*self.rows, *new]))}
        columns = np.zeros((len(self.columns), len(rows)))
        moved = np.fromiter(map(rows.__getitem__, self.rows), np.int64, len(self.rows))
        columns[:, moved] = self.columns
        return SeriesTable(rows, columns)

    def places(self, index: CatalogIndex) -> Numbers:
        """The rows' places in a table of demand, see `CatalogIndex.places`."""
        if not self._places or self._places[0][0] is not index:
            self._places[:] = [(index, index.places(self.rows))]
        return self._places[0][1]

    def only(self, keep: NDArray[np.bool_]) -> SeriesTable:
        """The table without the rows that are not to be kept."""
        rows = {pair: row for row, pair in enumerate(compress(self.rows, keep.tolist()))}
        return SeriesTable(rows, self.columns.compress(keep, axis=1))

    def after(
        self, count: Floats, asked: Floats, index: CatalogIndex, elapsed_ms: int, horizon_ms: int
    ) -> SeriesTable:
        """The table after an interval, without the series that have decayed away.

        Arrivals are compared with what was expected before them: after a request its user is in a
        session, and who took the rate of that for the time before would have expected a crowd.

        Parameters
        ----------
        count
            Requests that came, one number per row.
        asked
            Those expected within the horizon from now on, by composite and tier.
        """
        columns, keep = np.empty_like(self.columns), np.empty(len(self.rows), np.bool_)
        passed = passed_of(elapsed_ms, horizon_ms)
        left = compare(self.columns, self.places(index), count, asked, passed, columns, keep)
        table = SeriesTable(self.rows, columns, self._places)
        return table if left == len(keep) else table.only(keep)


def arrivals(before: Mapping[Pair, int] | None, now: Mapping[Pair, int]) -> Mapping[Pair, int]:
    """The requests reported between two demand records of a partition.

    Parameters
    ----------
    before, now
        Requests so far, as each of them reports; None before the first.
    """
    if before is None or before == now:
        return {}
    found: dict[Pair, int] = {}
    changed = [(pair, seen) for pair, seen in now.items() if before.get(pair) != seen]
    for pair, seen in sorted(changed):
        # A lower count than before means that the counter was reset.
        more = seen - before.get(pair, 0)
        found[pair] = more if more > 0 else seen
    return found


def added(known: Mapping[Pair, int], more: Mapping[Pair, int]) -> Mapping[Pair, int]:
    """The sum of two counts, in the order of first mention."""
    return {**known, **{pair: known.get(pair, 0) + count for pair, count in more.items()}}


@dataclass(frozen=True, slots=True)
class DemandCalibration:
    """Calibration state of a pool; immutable: methods that change it return a new one."""

    at_ms: int = 0  # arrivals are accounted for up to this time
    arrived: Mapping[Pair, int] = field(default_factory=dict)  # requests reported since then
    series: SeriesTable = field(default_factory=SeriesTable)

    def hear(self, more: Mapping[Pair, int]) -> DemandCalibration:
        """Count these requests."""
        if not more:
            return self
        return DemandCalibration(self.at_ms, added(self.arrived, more), self.series)

    def advance(
        self, asked: Floats, index: CatalogIndex, now_ms: int, horizon_ms: int
    ) -> tuple[DemandCalibration, Mapping[Pair, int]]:
        """Compare the requests that arrived since the last call with the expected ones.

        Returns
        -------
        The new calibration, and the requests that were accounted for: none if no time has passed.
        """
        if horizon_ms <= 0 or now_ms <= self.at_ms:
            return self, {}
        if self.at_ms == 0:
            return DemandCalibration(now_ms, {}, self.series), self.arrived
        series = self._compared(asked, index, now_ms - self.at_ms, horizon_ms)
        return DemandCalibration(now_ms, {}, series), self.arrived

    def lift(self, asked: Floats, index: CatalogIndex, horizon_ms: int) -> Floats:
        """The expected requests, raised to the recent rate where there is a burst."""
        if horizon_ms <= 0:
            return asked
        alarm, rates, *_ = self.series.columns
        burst = alarm >= ALARM
        if not np.count_nonzero(burst):
            return asked
        mean = asked.copy()
        pairs = compress(self.series.rows, burst.tolist())
        for pair, rate in zip(pairs, rates[burst].tolist(), strict=True):
            place = index.place(pair)
            if place is not None:
                mean[place] = max(float(mean[place]), rate * horizon_ms)
        return mean

    def _compared(
        self, asked: Floats, index: CatalogIndex, elapsed_ms: int, horizon_ms: int
    ) -> SeriesTable:
        series = self.series.including(self.arrived)
        count = np.zeros(len(series))
        for pair, arrived in self.arrived.items():
            count[series.rows[pair]] = arrived
        return series.after(count, asked, index, elapsed_ms, horizon_ms)

    def form(self) -> list[Any]:
        """As plain values."""
        return [
            self.at_ms,
            [[*pair, count] for pair, count in self.arrived.items()],
            [[*pair, *values] for pair, values in self.series.items()],
        ]

    @classmethod
    def of(cls, form: Iterable[Any]) -> DemandCalibration:
        """From plain values."""
        at_ms, arrived, series, *_ = form  # earlier releases kept factors behind them
        return cls(
            at_ms,
            {(service, tier): count for service, tier, count in arrived},
            SeriesTable.of(
                {(service, tier): _series_of(values) for service, tier, *values in series}
            ),
        )


def _series_of(values: list[float]) -> RequestSeries:
    """The series of these values; of earlier releases, which expected too much, the rate alone."""
    return (
        RequestSeries(*values)
        if len(values) == len(RequestSeries._fields)
        else RequestSeries(rate=values[1])
    )
