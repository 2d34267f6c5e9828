-- What "now" is, by a few looks into indices in place of reading all that ever happened: the views
-- that use it take milliseconds where they took as long as counting a million requests.
CREATE INDEX commands_pool_issued_ms ON commands (pool, issued_ms);

CREATE OR REPLACE VIEW pool_clock AS
WITH RECURSIVE names (pool) AS (
    SELECT
        least(
            (SELECT min(c.pool) FROM commands AS c),
            (SELECT min(u.pool) FROM utilisation AS u),
            (SELECT min(o.pool) FROM outcomes AS o)
        )
    UNION ALL
    SELECT
        least(
            (SELECT min(c.pool) FROM commands AS c WHERE c.pool > names.pool),
            (SELECT min(u.pool) FROM utilisation AS u WHERE u.pool > names.pool),
            (SELECT min(o.pool) FROM outcomes AS o WHERE o.pool > names.pool)
        )
    FROM names
    WHERE names.pool IS NOT NULL
)

SELECT seen.pool, seen.now_ms, event_time(seen.now_ms) AS now
FROM (
    SELECT
        names.pool,
        greatest(
            (SELECT max(c.issued_ms) FROM commands AS c WHERE c.pool = names.pool),
            (SELECT max(u.at_ms) FROM utilisation AS u WHERE u.pool = names.pool),
            (SELECT max(o.at_ms) FROM outcomes AS o WHERE o.pool = names.pool)
        ) AS now_ms
    FROM names
    WHERE names.pool IS NOT NULL
) AS seen;
