CREATE TABLE trials (
    pool text NOT NULL,
    since_ms bigint NOT NULL,
    variant text NOT NULL,
    champion boolean NOT NULL,
    at_ms bigint NOT NULL,
    requests bigint NOT NULL,
    cold_ms bigint NOT NULL,
    saved_ms bigint NOT NULL,
    warm_ms bigint NOT NULL,
    wasted_ms bigint NOT NULL,
    worth double precision NOT NULL,
    cost double precision NOT NULL,
    kafka_offset bigint NOT NULL,
    net double precision GENERATED ALWAYS AS (worth - cost) STORED,
    since timestamptz GENERATED ALWAYS AS (event_time(since_ms)) STORED,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (pool, since_ms, variant)
);

COMMENT ON TABLE trials IS
    'What a champion and its challenger have come to on paper, against starting on request only.';
COMMENT ON COLUMN trials.since IS 'When the trial began, for both with the instances of then.';
COMMENT ON COLUMN trials.champion IS 'Whether it was the one in force.';
COMMENT ON COLUMN trials.at IS 'Up to here.';
COMMENT ON COLUMN trials.cold_ms IS 'That requests waited for starts.';
COMMENT ON COLUMN trials.saved_ms IS 'That they would have waited more, had nothing been warm.';
COMMENT ON COLUMN trials.warm_ms IS 'Instance-milliseconds warm.';
COMMENT ON COLUMN trials.wasted_ms IS 'Of these, not serving.';
COMMENT ON COLUMN trials.worth IS 'Of what was saved, by tier, in the unit of the prices.';
COMMENT ON COLUMN trials.cost IS 'Of what was warm, in the unit of the prices.';
COMMENT ON COLUMN trials.net IS 'What it is better than starting on request only.';
