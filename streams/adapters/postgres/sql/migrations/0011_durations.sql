-- The view knows what a log with durations tells, as `foremesh report` does: how long simulated
-- instances served, and what a wait for one that is busy has spared.
CREATE OR REPLACE VIEW saved_and_wasted AS
WITH observed AS (
    SELECT pool FROM outcomes GROUP BY pool HAVING bool_and(route = 'observed')
),

unknown AS (
    SELECT pool
    FROM instances
    GROUP BY pool
    HAVING
        CASE
            WHEN bool_and(endpoint = '') THEN max(busy_ms) = 0
            ELSE pool IN (SELECT observed.pool FROM observed)
        END
),

life AS (
    SELECT
        i.instance_id,
        i.service,
        i.pool,
        coalesce(c.tier, o.tier, '') AS tier,
        CASE WHEN unknown.pool IS NULL THEN i.busy_ms END AS busy_ms,
        i.warm_since_ms AS from_ms,
        least(
            greatest(coalesce(i.gone_ms, clock.now_ms, i.changed_ms), i.warm_since_ms),
            i.warm_since_ms + 366 * 86400000::bigint
        ) AS to_ms
    FROM instances AS i
    LEFT JOIN pool_clock AS clock USING (pool)
    LEFT JOIN unknown USING (pool)
    LEFT JOIN commands AS c USING (command_id)
    LEFT JOIN LATERAL (
        SELECT tier
        FROM outcomes
        WHERE i.command_id LIKE 'standard/%' AND request_id = substr(i.command_id, 10)
        ORDER BY at_ms, user_id
        LIMIT 1
    ) AS o ON true
    WHERE i.warm_since_ms BETWEEN 0 AND 253402300799999
),

warm AS (
    SELECT
        h.hour_ms,
        life.service,
        life.tier,
        life.pool,
        least(life.to_ms, h.hour_ms + 3600000) - greatest(life.from_ms, h.hour_ms) AS warm_ms,
        life.busy_ms,
        greatest(life.to_ms - life.from_ms, 1) AS life_ms
    FROM life
    CROSS JOIN LATERAL generate_series(
        life.from_ms - mod(life.from_ms, 3600000), life.to_ms, 3600000
    ) AS h (hour_ms)
),

instance_time AS (
    SELECT
        hour_ms,
        service,
        tier,
        pool,
        sum(warm_ms) AS warm_ms,
        CASE WHEN count(busy_ms) = count(*) THEN
            sum(least(busy_ms::double precision * warm_ms / life_ms, warm_ms))
        END AS used_ms
    FROM warm
    GROUP BY hour_ms, service, tier, pool
),

part AS (
    SELECT
        *,
        count(*) FILTER (WHERE warm) OVER request AS warm_parts,
        count(*) OVER request AS parts
    FROM outcome_parts
    WINDOW request AS (PARTITION BY request_id, user_id)
),

saved AS (
    SELECT
        o.at_ms - mod(o.at_ms, 3600000) AS hour_ms,
        p.service,
        o.tier,
        o.pool,
        count(*) AS uses,
        count(*) FILTER (WHERE p.warm) AS warm_uses,
        sum(p.wait_ms) AS waited_ms,
        sum(
            CASE
                WHEN p.warm THEN o.saved_ms::double precision / p.warm_parts
                WHEN p.warm_parts = 0 THEN o.saved_ms::double precision / p.parts
            END
        ) AS saved_ms
    FROM outcomes AS o
    INNER JOIN part AS p USING (request_id, user_id)
    GROUP BY 1, 2, 3, 4
)

SELECT
    event_time(hour_ms) AS hour,
    service,
    tier,
    pool,
    coalesce(saved.uses, 0) AS uses,
    coalesce(saved.warm_uses, 0) AS warm_uses,
    coalesce(saved.saved_ms, 0) / 1000.0 AS saved_s,
    coalesce(saved.waited_ms, 0)::double precision / 1000.0 AS waited_s,
    coalesce(instance_time.warm_ms, 0)::double precision / 1000.0 AS warm_s,
    CASE WHEN instance_time.warm_ms IS NULL THEN 0 ELSE instance_time.used_ms END / 1000.0 AS used_s,
    CASE
        WHEN instance_time.warm_ms IS NULL THEN 0
        ELSE instance_time.warm_ms::double precision - instance_time.used_ms
    END / 1000.0 AS wasted_s
FROM saved
FULL JOIN instance_time USING (hour_ms, service, tier, pool);

COMMENT ON COLUMN saved_and_wasted.saved_s IS
    'Cold-start time taken off requests; a request''s is shared equally between its warm parts, or '
    'between all where none was: a wait for what is busy or starts already is shorter than a start.';
COMMENT ON COLUMN saved_and_wasted.used_s IS
    'Of these, seconds serving; an instance''s are spread evenly over its warm time. Null where '
    'nobody knows it: of simulated instances, if the log did not say how long requests took, and of '
    'others in pools whose requests all come from a log.';

COMMENT ON COLUMN instances.changed_at IS
    'When it entered its state; of a simulated one that ended before it was warm, when it would '
    'have been.';
