CREATE OR REPLACE VIEW hit_rate AS
SELECT
    date_trunc('hour', at, 'UTC') AS hour,
    service,
    tier,
    pool,
    count(*) AS requests,
    count(*) FILTER (WHERE result = 'hit') AS hits,
    count(*) FILTER (WHERE result = 'partial') AS partials,
    count(*) FILTER (WHERE result = 'miss') AS misses,
    count(*) FILTER (WHERE route = 'refused') AS refused,
    avg((result = 'hit')::int)::double precision AS hit_rate,
    sum(cold_ms)::bigint AS cold_ms,
    sum(saved_ms)::bigint AS saved_ms,
    percentile_cont(0.50) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE route <> 'observed') AS latency_p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE route <> 'observed') AS latency_p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE route <> 'observed') AS latency_p99_ms
FROM outcomes
GROUP BY 1, 2, 3, 4;

COMMENT ON COLUMN hit_rate.latency_p50_ms IS
    'Median of those that foremesh served; null for a log, which tells no latency.';

CREATE OR REPLACE VIEW saved_and_wasted AS
WITH unknown AS (
    SELECT pool FROM outcomes GROUP BY pool HAVING bool_and(route = 'observed')
    UNION
    SELECT pool FROM instances GROUP BY pool HAVING bool_and(endpoint = '')
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
    LEFT JOIN outcomes AS o ON i.command_id = 'standard/' || o.request_id
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
        count(*) FILTER (WHERE warm) OVER (PARTITION BY request_id) AS warm_parts
    FROM outcome_parts
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
        sum(o.saved_ms::double precision / p.warm_parts) FILTER (WHERE p.warm) AS saved_ms
    FROM outcomes AS o
    INNER JOIN part AS p USING (request_id)
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

COMMENT ON COLUMN saved_and_wasted.used_s IS
    'Of these, seconds serving; an instance''s are spread evenly over its warm time. Null where '
    'nobody measured it: for simulated instances, and in pools whose requests come from a log.';
COMMENT ON COLUMN saved_and_wasted.wasted_s IS 'Warm and not serving; null where used_s is.';
