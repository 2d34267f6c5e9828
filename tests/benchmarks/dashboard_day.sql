-- A day of a pool, up to now; test_dashboard_load.py sets day.now_ms, day.users and day.requests.
CREATE TEMPORARY TABLE day AS
SELECT
    current_setting('day.now_ms')::bigint AS now_ms,
    current_setting('day.now_ms')::bigint - 86400000 AS from_ms,
    current_setting('day.users')::int AS users,
    current_setting('day.requests')::int AS requests;

INSERT INTO outcomes (
    request_id, user_id, tier, pool, service, at_ms, result, route, status, latency_ms, cold_ms,
    saved_ms, source
)
SELECT
    'r' || n,
    'user-' || lpad((n::bigint * 7919 % day.users)::text, 6, '0'),
    CASE WHEN n % 5 = 0 THEN 'gold' ELSE 'standard' END,
    'default',
    'composite ' || n::bigint * 31 % 40,
    day.from_ms + n * 86400000::bigint / day.requests,
    CASE WHEN n % 50 = 0 THEN 'miss' WHEN n % 23 = 0 THEN 'partial' ELSE 'hit' END::request_result,
    'preallocated',
    200,
    12 + n % 90,
    CASE WHEN n % 50 = 0 THEN 4000 WHEN n % 23 = 0 THEN 1500 ELSE 0 END,
    CASE WHEN n % 50 = 0 THEN 0 ELSE 3500 END,
    'gateway'
FROM day, generate_series(1, day.requests) AS n;

INSERT INTO outcome_parts (
    request_id, user_id, position, service, warm, instance_id, wait_ms, serve_ms
)
SELECT
    o.request_id, o.user_id, position, o.service || ' part ' || position, o.result = 'hit',
    'i' || substr(o.request_id, 2)::int % (day.requests / 50), 0, 300
FROM day, outcomes AS o, generate_series(1, 2) AS position;

INSERT INTO prediction_history (
    request_id, user_id, tier, pool, services, probabilities, within, unseen, horizon_ms,
    expected_p10_ms, expected_p50_ms, expected_p90_ms, made_ms, expires_ms, model
)
SELECT
    request_id, user_id, tier, pool,
    array_append((SELECT array_agg('next ' || k) FROM generate_series(1, 9) AS k), service),
    '{.5,.1,.1,.05,.05,.05,.04,.03,.03,.02}', '{.05,.02,.01,.01,.01,.01,.01,.01,.01,.01}', .03,
    60000, 10000, 60000, 600000, at_ms, at_ms + 3600000, 'm1'
FROM outcomes;

INSERT INTO predictions (
    user_id, request_id, tier, pool, services, probabilities, within, unseen, horizon_ms,
    expected_p10_ms, expected_p50_ms, expected_p90_ms, made_ms, expires_ms, model, kafka_offset
)
SELECT DISTINCT ON (user_id)
    user_id, request_id, tier, pool, services, probabilities, within, unseen, horizon_ms,
    expected_p10_ms, expected_p50_ms, expected_p90_ms, made_ms, expires_ms, model, 1
FROM prediction_history
ORDER BY user_id, made_ms DESC;

INSERT INTO instances (
    instance_id, service, pool, state, endpoint, command_id, started_ms, changed_ms, warm_since_ms,
    gone_ms, uses, busy_ms, reason, kafka_offset
)
SELECT
    'i' || n, 'composite ' || n % 40 || ' part ' || n % 2 + 1, 'default',
    CASE WHEN born.late THEN ('{warm,busy,starting}'::text[])[1 + n % 3] ELSE 'gone' END::instance_state,
    'http://host:1', 'c' || n, at.ms, at.ms + 4000, at.ms + 4000,
    CASE WHEN NOT born.late THEN at.ms + 900000 END, 50, 20000, '', n
FROM day, generate_series(1, day.requests / 50) AS n,
    LATERAL (SELECT n > day.requests / 50 - 200) AS born (late),
    LATERAL (SELECT day.from_ms + n * 4320000000::bigint / day.requests) AS at (ms);

INSERT INTO commands (
    command_id, pool, action, service, count, tier, value, cost, priority, issued_ms, expires_ms,
    reason, kafka_offset
)
SELECT
    'c' || n, 'default', ('{provision,release,queue}'::command_action[])[1 + n % 3],
    'composite ' || n % 40 || ' part ' || n % 2 + 1, 1, 'gold', .5, .1, 1, at.ms, at.ms + 60000,
    'instance 2 is used within 60 s with probability 0.4: worth 0.5, costs 0.1', n
FROM day, generate_series(1, day.requests / 20) AS n,
    LATERAL (SELECT day.from_ms + n * 1728000000::bigint / day.requests) AS at (ms);

INSERT INTO verdicts (
    pool, service, at_ms, command_id, choice, mode, instance, have, chance, value, cost, bound,
    tier, price, horizon_ms, warm_up_ms, expected_services, expected_tiers, expected_requests,
    alternatives, alternative_values, alternative_costs
)
SELECT
    pool, service, issued_ms, command_id, 'keep', 'on', 1, 1, .5, .5, .1, 'value', 'gold', .3,
    60000, 4000, '{next 1}', '{gold}', '{1.5}', '{give one back}', '{.1}', '{.5}'
FROM commands;

INSERT INTO utilisation (
    pool, at_ms, cpu_capacity, cpu_used, memory_capacity, memory_used, bandwidth_capacity,
    bandwidth_used
)
SELECT 'default', day.from_ms + n * 1000, 64000, 40000, 256000, 120000, 0, 0
FROM day, generate_series(1, 86400) AS n;
