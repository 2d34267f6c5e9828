from __future__ import annotations

from streams.request_path.envoy.usage import UsageCounter


def test_an_instance_is_in_use_until_it_was_quiet_for_a_while() -> None:
    usage = UsageCounter()
    usage.add("a-1", 5)
    usage.add("a-1", 7)
    reports = [usage.collect() for _ in range(6)]

    assert [(u.in_flight, u.uses, u.busy_ms) for u in reports[0]] == [(1, 2, 12)]
    assert [u.in_flight for news in reports[1:] for u in news] == [0]


def test_a_name_that_no_instance_has_spoils_no_report() -> None:
    usage = UsageCounter()
    usage.add("i" * 300, 10)
    assert usage.collect() == []


def test_an_instance_whose_idle_report_was_lost_is_reported_idle_again() -> None:
    usage = UsageCounter()
    usage.add("a-1", 5)
    usage.collect()
    idle = next(report for report in iter(usage.collect, None) if report)
    usage.restore(idle)

    assert [(u.in_flight, u.uses) for u in usage.collect()] == [(0, 0)]
    assert not usage.collect()
