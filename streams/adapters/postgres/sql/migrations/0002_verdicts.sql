CREATE TYPE verdict_choice AS ENUM (
    'start',    -- one more instance
    'queue',    -- wanted, but it does not fit
    'release',  -- idle instances are given back
    'keep',     -- what there is stays, no further one pays
    'leave'     -- there is none, and none pays
);

CREATE TYPE pool_mode AS ENUM (
    'on',      -- decides, and has it carried out
    'shadow',  -- decides, and does nothing
    'advise',  -- decides nothing
    'off'      -- gives back what is idle, then does nothing
);

CREATE TABLE verdicts (
    pool text NOT NULL,
    service text NOT NULL,
    at_ms bigint NOT NULL,
    command_id text NOT NULL,
    choice verdict_choice NOT NULL,
    mode pool_mode NOT NULL,
    instance bigint NOT NULL,
    have bigint NOT NULL,
    chance double precision NOT NULL,
    value double precision NOT NULL,
    cost double precision NOT NULL,
    bound text NOT NULL,
    tier text NOT NULL,
    price double precision NOT NULL,
    horizon_ms bigint NOT NULL,
    warm_up_ms bigint NOT NULL,
    expected_services text[] NOT NULL,
    expected_tiers text[] NOT NULL,
    expected_requests double precision[] NOT NULL,
    alternatives text[] NOT NULL,
    alternative_values double precision[] NOT NULL,
    alternative_costs double precision[] NOT NULL,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (pool, service, at_ms, command_id)
);

CREATE INDEX verdicts_service_at_ms ON verdicts (service, at_ms);
CREATE INDEX verdicts_command_id ON verdicts (command_id) WHERE command_id <> '';

COMMENT ON TABLE verdicts IS
    'Why a constituent was started, queued, given back or left; each holds until the next one.';
COMMENT ON COLUMN verdicts.service IS 'The constituent.';
COMMENT ON COLUMN verdicts.command_id IS
    'The command that came of it, or in shadow mode would have; empty when none.';
COMMENT ON COLUMN verdicts.instance IS 'The how-manieth instance it is about.';
COMMENT ON COLUMN verdicts.have IS 'Instances there or under way.';
COMMENT ON COLUMN verdicts.chance IS 'That this instance is used within the horizon.';
COMMENT ON COLUMN verdicts.value IS 'Expected worth of this instance, in the unit of the prices.';
COMMENT ON COLUMN verdicts.cost IS 'Of having it, in the unit of the prices.';
COMMENT ON COLUMN verdicts.bound IS
    'What decided: value, pin, cpu, memory, bandwidth, budget, quota.';
COMMENT ON COLUMN verdicts.tier IS 'The highest tier it is for.';
COMMENT ON COLUMN verdicts.price IS 'Of one instance for an hour.';
COMMENT ON COLUMN verdicts.warm_up_ms IS 'Start-up time that was reckoned with.';
COMMENT ON COLUMN verdicts.expected_services IS
    'Composites that were expected to need it, with their tiers and expected requests.';
COMMENT ON COLUMN verdicts.alternatives IS 'What else could have been done, with value and cost.';

-- For the users behind a decision, of all those who were seen before it.
CREATE INDEX prediction_history_made_ms ON prediction_history USING brin (made_ms);

CREATE INDEX outcome_parts_instance_id ON outcome_parts (instance_id) WHERE warm;

CREATE VIEW decision_value AS
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
    INNER JOIN outcomes AS o USING (request_id)
    WHERE p.instance_id = i.instance_id AND p.warm
) AS f ON true
CROSS JOIN LATERAL (
    SELECT
        greatest(0, coalesce(f.first_ms, i.gone_ms, clock.now_ms) - i.warm_since_ms)::double precision
            AS wasted_ms
) AS w
WHERE c.action = 'provision' AND i.warm_since_ms IS NOT NULL;

COMMENT ON VIEW decision_value IS
    'What each started instance brought, against what was expected of it. Without it the first '
    'request would have started an instance, which would have served the later ones as well: so '
    'the first use is what was saved, and the time before it what was wasted.';
COMMENT ON COLUMN decision_value.expected_uses IS 'Chance that it is used within the horizon.';
COMMENT ON COLUMN decision_value.realised_uses IS
    '1 when it was used within the horizon from being warm, 0 when later, null when never.';
COMMENT ON COLUMN decision_value.realised_saved_s IS 'The start that its first request was spared.';
COMMENT ON COLUMN decision_value.wasted_s IS 'Warm before its first use, or in vain.';
COMMENT ON COLUMN decision_value.wasted_cost IS 'The same, at its price.';
