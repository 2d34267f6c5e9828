-- create_migrations_table --
-- The migrations that were applied; not part of the schema.
CREATE TABLE IF NOT EXISTS foremesh_migrations (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- lock_migrations --
-- Held to the end of the transaction: of two concurrent migrations one waits.
SELECT pg_advisory_xact_lock(hashtext('foremesh_migrations'))

-- has_migrations_table --
SELECT to_regclass('foremesh_migrations') IS NOT NULL

-- columns --
-- The columns of the tables of the schema that is in use.
SELECT table_name::text, column_name::text
FROM information_schema.columns
WHERE table_schema = current_schema()

-- applied_migrations --
SELECT name FROM foremesh_migrations

-- record_migration --
INSERT INTO foremesh_migrations (name) VALUES (%(name)s)

-- outcomes --
-- Outcomes of a pool (all when it is null) from a time on, and before another one.
SELECT
    request_id, user_id AS user, tier, pool, service, at_ms, result, route, status, latency_ms, cold_ms,
    saved_ms, source
FROM outcomes
WHERE pool = coalesce(%(pool)s, pool)
    AND at_ms >= coalesce(%(from_ms)s::bigint, at_ms)
    AND at_ms < coalesce(%(until_ms)s::bigint, 9223372036854775807)

-- newest_outcome --
-- The time of the newest outcome of a pool, before a time.
SELECT max(at_ms) AS at_ms
FROM outcomes
WHERE pool = coalesce(%(pool)s, pool)
    AND at_ms < coalesce(%(until_ms)s::bigint, 9223372036854775807)

-- count_outcomes --
SELECT count(*) FROM outcomes WHERE pool = %(pool)s

-- instances --
-- Instances of a pool that existed within the same time.
SELECT
    instance_id, service, pool, state, endpoint, command_id, started_ms, changed_ms,
    warm_since_ms, gone_ms, uses, busy_ms, reason
FROM instances
WHERE pool = coalesce(%(pool)s, pool)
    AND coalesce(gone_ms >= %(from_ms)s::bigint, true)
    AND started_ms < coalesce(%(until_ms)s::bigint, 9223372036854775807)

-- clocks --
-- The newest time of a pool, or of all.
SELECT pool, now_ms
FROM pool_clock
WHERE pool = coalesce(%(pool)s, pool)

-- commands_of_instances --
-- The commands that started instances.
SELECT
    command_id, pool, action, service, count, value, cost, priority, issued_ms, expires_ms,
    reason, tier
FROM commands
WHERE action = 'provision' AND command_id IN (SELECT command_id FROM instances)

-- prediction --
-- The latest prediction of a user.
SELECT
    request_id, user_id AS user, services, probabilities, within, unseen, horizon_ms, expected_p10_ms,
    expected_p50_ms, expected_p90_ms, made_ms, expires_ms, model, tier, pool
FROM predictions
WHERE user_id = %(user_id)s

-- verdict_of_command --
-- The verdict behind a command; in shadow mode, behind the one that would have been issued.
SELECT * FROM verdicts WHERE command_id = %(command_id)s AND command_id <> ''

-- verdict_at --
-- The verdict on a constituent in force at a time, in each pool; without a time the newest. With a
-- challenger, its simulated verdict.
SELECT DISTINCT ON (pool) *
FROM verdicts
WHERE service = %(service)s
    AND at_ms <= coalesce(%(at_ms)s::bigint, 9223372036854775807)
    AND pool = coalesce(%(pool)s, pool)
    AND challenger = %(challenger)s
ORDER BY pool, at_ms DESC, command_id DESC

-- reason_of_command --
SELECT reason FROM commands WHERE command_id = %(command_id)s

-- warm_at --
-- The number of instances of a constituent that were warm at a time.
SELECT count(*)
FROM instances
WHERE service = %(service)s AND pool = %(pool)s AND warm_since_ms <= %(at_ms)s
    AND (gone_ms IS NULL OR gone_ms > %(at_ms)s)

-- users_behind --
-- The users of a pool most likely to request one of some services, by their predictions as of a
-- time, among those seen within %(window_ms)s before it.
WITH latest AS (
    SELECT DISTINCT ON (user_id) user_id, tier, services, within, made_ms, expires_ms
    FROM prediction_history
    WHERE pool = %(pool)s
        AND made_ms BETWEEN %(at_ms)s::bigint - %(window_ms)s::bigint AND %(at_ms)s::bigint
    ORDER BY user_id, made_ms DESC
)
SELECT latest.user_id AS user, latest.tier, v.service, v.within, latest.made_ms
FROM latest
CROSS JOIN LATERAL unnest(latest.services, latest.within) AS v (service, within)
WHERE latest.expires_ms > %(at_ms)s AND v.service = ANY (%(services)s)
ORDER BY v.within DESC, latest.user_id
LIMIT %(most)s

-- failures --
-- Instances of a constituent that crashed or did not start: those of a command, and those of a time
-- before another one; the newest ones.
SELECT instance_id, gone_ms, reason
FROM instances
WHERE pool = %(pool)s AND service = %(service)s AND state = 'gone' AND reason LIKE 'crashed: %%'
    AND (
        (command_id = %(command_id)s AND command_id <> '')
        OR gone_ms BETWEEN %(since_ms)s::bigint AND %(at_ms)s::bigint
    )
ORDER BY gone_ms DESC, instance_id
LIMIT %(most)s

-- realised --
-- The value of the instances of a command, realised and expected.
SELECT
    instance_id, expected_uses, expected_saved_s, expected_cost, realised_uses,
    realised_saved_s::double precision, wasted_s, wasted_cost
FROM decision_value
WHERE command_id = %(command_id)s
ORDER BY instance_id
