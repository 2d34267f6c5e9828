from __future__ import annotations

from streams.cli.compare_report import verdict
from streams.lab.compare.run import PolicyRow


def test_large_figures_of_the_verdict_are_written_as_people_write_them() -> None:
    rows = [
        PolicyRow(
            policy=policy,
            parameter=parameter,
            requests=30,
            cold_start_rate=1.0,
            cold_start_ms=300_000,
            wasted_seconds=0.0,
            wasted_gb_s=0.0,
            cost=cost,
            total_cost=cost + 10.0,
        )
        for policy, parameter, cost in [
            ("keep-alive", "10m", 12_345.0),
            ("foremesh", "1 x price", 1_234_567.0),
        ]
    ]
    said = verdict(rows, hours=1.0, today=None, guessed=False, served=False)
    assert "cost 1,230,000 an hour" in said
    assert "(100 % of the requests)" in said
    assert "with 12,400." in said
