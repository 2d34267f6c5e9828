-- One row a minute, so that what came of weeks of requests is read at once; kept by triggers, in the
-- transaction of the outcomes. Sinks that write at once have rows of their own: no one waits.
CREATE TABLE requests_by_minute (
    pool text NOT NULL,
    minute_ms bigint NOT NULL,
    tier text NOT NULL,
    part bigint NOT NULL,
    requests bigint NOT NULL,
    hits bigint NOT NULL,
    refused bigint NOT NULL,
    cold_ms bigint NOT NULL,
    saved_ms bigint NOT NULL,
    minute timestamptz GENERATED ALWAYS AS (event_time(minute_ms)) STORED,
    PRIMARY KEY (pool, minute_ms, tier, part)
);

COMMENT ON TABLE requests_by_minute IS
    'Sums over outcomes, by minute, pool and tier; the rows of all parts together.';
COMMENT ON COLUMN requests_by_minute.part IS 'Of a writer: add them up.';
COMMENT ON COLUMN requests_by_minute.hits IS 'Requests that found every constituent warm.';
COMMENT ON COLUMN requests_by_minute.refused IS 'Requests that were answered 503.';
COMMENT ON COLUMN requests_by_minute.cold_ms IS 'Cold-start time that these requests waited.';
COMMENT ON COLUMN requests_by_minute.saved_ms IS 'Cold-start time that they were spared.';

CREATE FUNCTION add_requests_by_minute() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO requests_by_minute AS known (
        pool, minute_ms, tier, part, requests, hits, refused, cold_ms, saved_ms
    )
    SELECT
        pool,
        at_ms - mod(at_ms, 60000),
        tier,
        mod(pg_backend_pid(), 16),
        count(*),
        count(*) FILTER (WHERE result = 'hit'),
        count(*) FILTER (WHERE route = 'refused'),
        sum(cold_ms),
        sum(saved_ms)
    FROM added
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (pool, minute_ms, tier, part) DO UPDATE SET
        requests = known.requests + excluded.requests,
        hits = known.hits + excluded.hits,
        refused = known.refused + excluded.refused,
        cold_ms = known.cold_ms + excluded.cold_ms,
        saved_ms = known.saved_ms + excluded.saved_ms;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION add_requests_by_minute IS 'Adds new outcomes to requests_by_minute.';

CREATE TRIGGER add_requests_by_minute
AFTER INSERT ON outcomes
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION add_requests_by_minute();

CREATE FUNCTION forget_requests_by_minute() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM requests_by_minute AS known
    USING (SELECT DISTINCT pool, at_ms - mod(at_ms, 60000) AS minute_ms FROM removed) AS gone
    WHERE known.pool = gone.pool AND known.minute_ms = gone.minute_ms;
    INSERT INTO requests_by_minute (
        pool, minute_ms, tier, part, requests, hits, refused, cold_ms, saved_ms
    )
    SELECT
        gone.pool,
        gone.minute_ms,
        o.tier,
        mod(pg_backend_pid(), 16),
        count(*),
        count(*) FILTER (WHERE o.result = 'hit'),
        count(*) FILTER (WHERE o.route = 'refused'),
        sum(o.cold_ms),
        sum(o.saved_ms)
    FROM (SELECT DISTINCT pool, at_ms - mod(at_ms, 60000) AS minute_ms FROM removed) AS gone
    INNER JOIN outcomes AS o
        ON o.pool = gone.pool AND o.at_ms >= gone.minute_ms AND o.at_ms < gone.minute_ms + 60000
    GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION forget_requests_by_minute IS
    'Counts again the minutes of requests_by_minute that outcomes were deleted from.';

CREATE TRIGGER forget_requests_by_minute
AFTER DELETE ON outcomes
REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION forget_requests_by_minute();

CREATE FUNCTION forget_all_requests_by_minute() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM requests_by_minute;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION forget_all_requests_by_minute IS 'Empties requests_by_minute with outcomes.';

CREATE TRIGGER forget_all_requests_by_minute
AFTER TRUNCATE ON outcomes
FOR EACH STATEMENT EXECUTE FUNCTION forget_all_requests_by_minute();

INSERT INTO requests_by_minute (
    pool, minute_ms, tier, part, requests, hits, refused, cold_ms, saved_ms
)
SELECT
    pool,
    at_ms - mod(at_ms, 60000),
    tier,
    0,
    count(*),
    count(*) FILTER (WHERE result = 'hit'),
    count(*) FILTER (WHERE route = 'refused'),
    sum(cold_ms),
    sum(saved_ms)
FROM outcomes
GROUP BY 1, 2, 3;
