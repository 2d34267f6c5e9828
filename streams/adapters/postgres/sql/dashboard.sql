-- pools --
-- The names of the pools that something is known of, each found by one look into an index.
WITH RECURSIVE asked AS (
    (SELECT pool FROM outcomes ORDER BY pool LIMIT 1)
    UNION ALL
    SELECT (SELECT o.pool FROM outcomes AS o WHERE o.pool > asked.pool ORDER BY o.pool LIMIT 1)
    FROM asked
    WHERE asked.pool IS NOT NULL
),

served AS (
    (SELECT pool FROM instances ORDER BY pool LIMIT 1)
    UNION ALL
    SELECT (SELECT i.pool FROM instances AS i WHERE i.pool > served.pool ORDER BY i.pool LIMIT 1)
    FROM served
    WHERE served.pool IS NOT NULL
)

SELECT pool FROM asked WHERE pool IS NOT NULL
UNION
SELECT pool FROM served WHERE pool IS NOT NULL
ORDER BY pool

-- clock --
-- The newest event time of a pool that is not in the future: what "now" is, also for an old log.
SELECT greatest(
    (SELECT max(at_ms) FROM outcomes WHERE pool = %(pool)s AND at_ms <= %(wall_ms)s),
    (SELECT max(at_ms) FROM utilisation WHERE pool = %(pool)s AND at_ms <= %(wall_ms)s)
) AS now_ms

-- traffic --
-- Requests of a pool by span of time, whole minutes, and tier.
SELECT
    minute_ms - mod(minute_ms, %(step_ms)s::bigint) AS at_ms,
    tier,
    sum(requests)::bigint AS requests,
    sum(hits)::bigint AS hits,
    sum(refused)::bigint AS refused,
    sum(cold_ms)::bigint AS cold_ms,
    sum(saved_ms)::bigint AS saved_ms
FROM requests_by_minute
WHERE pool = %(pool)s AND minute_ms >= %(from_ms)s AND minute_ms <= %(now_ms)s
GROUP BY 1, 2
ORDER BY 1

-- warm_time --
-- Instance-milliseconds of a pool by span of time and constituent, warm or serving.
SELECT
    h.at_ms,
    i.service,
    sum(least(i.end_ms, h.at_ms + %(step_ms)s::bigint) - greatest(i.begin_ms, h.at_ms))::bigint
        AS warm_ms
FROM (
    SELECT
        service,
        greatest(warm_since_ms, %(from_ms)s::bigint) AS begin_ms,
        least(coalesce(gone_ms, %(now_ms)s::bigint), %(now_ms)s::bigint) AS end_ms
    FROM instances
    WHERE
        pool = %(pool)s
        AND warm_since_ms < %(now_ms)s
        AND coalesce(gone_ms, %(now_ms)s::bigint) > %(from_ms)s
) AS i
CROSS JOIN LATERAL generate_series(
    i.begin_ms - mod(i.begin_ms, %(step_ms)s::bigint), i.end_ms - 1, %(step_ms)s::bigint
) AS h (at_ms)
GROUP BY 1, 2
ORDER BY 1

-- grounds --
-- The newest verdict on each of some constituents: its price, what was decided, and why.
SELECT
    s.service, v.at_ms, v.choice::text AS choice, v.command_id, v.instance, v.have, v.chance, v.value, v.cost,
    v.bound, v.price, v.horizon_ms
FROM unnest(%(services)s::text[]) AS s (service)
CROSS JOIN LATERAL (
    SELECT *
    FROM verdicts
    WHERE service = s.service AND pool = %(pool)s AND challenger = '' AND at_ms <= %(now_ms)s
    ORDER BY at_ms DESC
    LIMIT 1
) AS v

-- states --
-- The instances of a pool that are there, by constituent and state.
SELECT
    service,
    state::text AS state,
    count(*) AS instances,
    count(*) FILTER (WHERE command_id LIKE 'standard/%%') AS asked_for,
    sum(uses)::bigint AS uses
FROM instances
WHERE pool = %(pool)s AND state IN ('starting', 'warm', 'busy', 'draining')
GROUP BY service, state
ORDER BY service, state

-- waiting --
-- What was wanted of late in a pool, did not fit, and waits.
SELECT service, count, reason
FROM (
    SELECT DISTINCT ON (service) service, action, count, expires_ms, reason
    FROM commands
    WHERE
        pool = %(pool)s
        AND issued_at >= event_time(%(now_ms)s::bigint - 900000)
        AND action IN ('provision', 'queue')
    ORDER BY service, issued_ms DESC, kafka_offset DESC
) AS last_of_each
WHERE action = 'queue' AND expires_ms >= %(now_ms)s

-- capacity --
-- Capacity and use of a pool as last told.
SELECT
    cpu_capacity, cpu_used, memory_capacity, memory_used, bandwidth_capacity, bandwidth_used, at_ms
FROM utilisation
WHERE pool = %(pool)s AND at_ms <= %(now_ms)s
ORDER BY at_ms DESC
LIMIT 1

-- decisions --
-- The newest commands of a pool.
SELECT command_id, action::text AS action, service, count, tier, value, cost, issued_ms, reason
FROM commands
WHERE pool = %(pool)s AND issued_at <= event_time(%(now_ms)s)
ORDER BY issued_at DESC, kafka_offset DESC
LIMIT %(most)s

-- uses --
-- The newest requests of a pool and the constituents that each used.
WITH asked AS (
    SELECT request_id, user_id, at_ms, tier, cold_ms, saved_ms, row_number() OVER () AS request
    FROM outcomes
    WHERE pool = %(pool)s AND at_ms > %(from_ms)s AND at_ms <= %(now_ms)s
    ORDER BY at_ms DESC
    LIMIT %(most)s
)

SELECT
    asked.request, asked.at_ms, asked.tier, asked.cold_ms, asked.saved_ms,
    coalesce(p.services, '{}') AS services, coalesce(p.serve_ms, '{}') AS serve_ms
FROM asked
LEFT JOIN LATERAL (
    SELECT array_agg(service) AS services, array_agg(serve_ms) AS serve_ms
    FROM outcome_parts
    WHERE request_id = asked.request_id AND user_id = asked.user_id
) AS p ON true
ORDER BY asked.at_ms

-- start_times --
-- How long instances of each constituent took to start, of those that started within a time.
SELECT service, percentile_cont(0.5) WITHIN GROUP (ORDER BY warm_since_ms - started_ms) AS start_ms
FROM instances
WHERE pool = %(pool)s AND warm_since_ms > %(from_ms)s AND warm_since_ms <= %(now_ms)s
GROUP BY service

-- promises --
-- Some vectors of each span of time, the next request of their user, and all within their horizon.
SELECT
    spans.at_ms, p.services, p.probabilities, p.within, p.unseen,
    next.service AS next, coalesce(came.services, '{}') AS came
FROM generate_series(
    %(from_ms)s::bigint, %(now_ms)s::bigint - 1, %(step_ms)s::bigint
) AS spans (at_ms)
CROSS JOIN LATERAL (
    SELECT request_id, user_id
    FROM outcomes
    WHERE
        pool = %(pool)s
        AND at_ms >= spans.at_ms
        AND at_ms < least(spans.at_ms + %(step_ms)s::bigint, %(now_ms)s)
    ORDER BY at_ms
    LIMIT %(most)s
) AS o
INNER JOIN prediction_history AS p USING (request_id, user_id)
LEFT JOIN LATERAL (
    SELECT service
    FROM outcomes
    WHERE user_id = p.user_id AND at_ms > p.made_ms AND pool = %(pool)s
    ORDER BY at_ms
    LIMIT 1
) AS next ON true
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT service) AS services
    FROM outcomes
    WHERE
        user_id = p.user_id
        AND pool = %(pool)s
        AND at_ms > p.made_ms
        AND at_ms <= p.made_ms + p.horizon_ms
) AS came ON true
WHERE p.made_ms + p.horizon_ms <= %(now_ms)s
ORDER BY spans.at_ms

-- vectors_of_late --
-- The vectors of those who asked last.
WITH asked AS (
    SELECT user_id, at_ms
    FROM outcomes
    WHERE pool = %(pool)s AND at_ms <= %(now_ms)s
    ORDER BY at_ms DESC
    LIMIT 200
),

users AS (
    SELECT user_id, max(at_ms) AS at_ms FROM asked GROUP BY user_id ORDER BY 2 DESC LIMIT %(most)s
)

SELECT p.*
FROM users
INNER JOIN predictions AS p USING (user_id)
ORDER BY users.at_ms DESC, p.user_id

-- vectors_from --
-- The vectors of users from a name on, in the order of their names.
SELECT * FROM predictions WHERE user_id >= %(name)s ORDER BY user_id LIMIT %(most)s

-- dead --
-- Records that could not be used, of the last hour.
SELECT stage, count(*) AS letters, max(reason) AS reason
FROM dead_letters
WHERE at > now() - interval '1 hour' AND at <= now()
GROUP BY stage

-- trial --
-- The scores of the newest trial of a pool.
SELECT variant, champion, requests, saved_ms, cold_ms, wasted_ms, worth, cost, net, at_ms, since_ms
FROM trials
WHERE pool = %(pool)s AND since_ms = (SELECT max(since_ms) FROM trials WHERE pool = %(pool)s)
ORDER BY champion DESC

-- said --
-- What operators said last about a pool, and what was in force before.
SELECT
    at_ms, said_by, reason, mode::text AS mode, paused, budget, pins, champion, challenger,
    quota_tiers, quota_budgets
FROM controls
WHERE pool = %(pool)s
ORDER BY at_ms DESC
LIMIT %(most)s

-- command --
-- A command, with what its instances did.
SELECT c.*, c.action::text AS did
FROM commands AS c
WHERE c.command_id = %(command_id)s

-- instances_of --
-- What the instances that a command started did.
SELECT instance_id, state::text AS state, started_ms, warm_since_ms, gone_ms, uses, busy_ms, reason
FROM instances
WHERE command_id = %(command_id)s
ORDER BY instance_id
LIMIT 20
