-- A request id may come from outside: of two users with the same one, both keep their rows. The key
-- begins with the request id, which instances started for a request are found by.
ALTER TABLE prediction_history DROP CONSTRAINT prediction_history_pkey;
ALTER TABLE prediction_history ADD PRIMARY KEY (request_id, user_id);

ALTER TABLE outcome_parts ADD COLUMN user_id text NOT NULL DEFAULT '';
UPDATE outcome_parts AS p SET user_id = o.user_id FROM outcomes AS o WHERE o.request_id = p.request_id;
ALTER TABLE outcome_parts ALTER COLUMN user_id DROP DEFAULT;
ALTER TABLE outcome_parts DROP CONSTRAINT outcome_parts_pkey;
ALTER TABLE outcome_parts ADD PRIMARY KEY (request_id, user_id, position);

ALTER TABLE outcomes DROP CONSTRAINT outcomes_pkey;
ALTER TABLE outcomes ADD PRIMARY KEY (request_id, user_id);

COMMENT ON COLUMN outcomes.request_id IS
    'Whoever asks may choose it, so it names a request only together with the user.';
COMMENT ON COLUMN outcome_parts.request_id IS 'With user_id: of the outcome that it is a part of.';

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
        count(*) FILTER (WHERE warm) OVER (PARTITION BY request_id, user_id) AS warm_parts
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

CREATE OR REPLACE VIEW decision_value AS
SELECT
    c.command_id,
    c.pool,
    c.service,
    c.tier,
    c.issued_at,
    i.instance_id,
    v.chance AS expected_uses,
    v.chance * v.warm_up_ms / 1000.0 AS expected_saved_s,
    c.cost AS expected_cost,
    (f.first_ms <= i.warm_since_ms + v.horizon_ms)::int AS realised_uses,
    CASE WHEN f.first_ms IS NULL THEN 0 ELSE i.warm_since_ms - i.started_ms END / 1000.0
        AS realised_saved_s,
    w.wasted_ms / 1000.0 AS wasted_s,
    w.wasted_ms / 3600000.0 * v.price AS wasted_cost
FROM commands AS c
INNER JOIN verdicts AS v USING (command_id)
INNER JOIN instances AS i USING (command_id)
INNER JOIN pool_clock AS clock ON clock.pool = c.pool
LEFT JOIN LATERAL (
    SELECT min(o.at_ms) AS first_ms
    FROM outcome_parts AS p
    INNER JOIN outcomes AS o USING (request_id, user_id)
    WHERE p.instance_id = i.instance_id AND p.warm
) AS f ON true
CROSS JOIN LATERAL (
    SELECT
        greatest(0, coalesce(f.first_ms, i.gone_ms, clock.now_ms) - i.warm_since_ms)::double precision
            AS wasted_ms
) AS w
WHERE c.action = 'provision' AND i.warm_since_ms IS NOT NULL;
