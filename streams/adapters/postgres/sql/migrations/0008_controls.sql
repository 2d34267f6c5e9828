CREATE TABLE controls (
    pool text NOT NULL,
    at_ms bigint NOT NULL,
    said_by text NOT NULL,
    reason text NOT NULL,
    mode pool_mode NOT NULL,
    paused boolean NOT NULL,
    budget double precision,
    pins text[] NOT NULL,
    quota_tiers text[] NOT NULL,
    quota_budgets double precision[] NOT NULL,
    champion text NOT NULL,
    challenger text,
    kafka_offset bigint NOT NULL,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (pool, at_ms)
);

COMMENT ON TABLE controls IS
    'What operators said about each pool: the whole word each time, the newest one is in force.';
COMMENT ON COLUMN controls.at IS
    'When it was said; the epoch for the last word of an earlier release, which kept no time.';
COMMENT ON COLUMN controls.said_by IS 'Who said so.';
COMMENT ON COLUMN controls.budget IS 'Most that warm instances may cost in an hour; null: the catalogue''s.';
COMMENT ON COLUMN controls.pins IS 'Bounds on the instances of constituents, in words.';
COMMENT ON COLUMN controls.quota_tiers IS 'Tiers that have a budget of their own, in quota_budgets.';
COMMENT ON COLUMN controls.champion IS 'The parameters that are decided by.';
COMMENT ON COLUMN controls.challenger IS 'Those that are tried beside them, on paper.';
