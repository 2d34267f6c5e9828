ALTER TABLE verdicts ADD COLUMN challenger text NOT NULL DEFAULT '';
ALTER TABLE verdicts DROP CONSTRAINT verdicts_pkey;
ALTER TABLE verdicts ADD PRIMARY KEY (pool, service, at_ms, command_id, challenger);

COMMENT ON COLUMN verdicts.challenger IS
    'Whose decision it is when it was only tried on paper, beside the one that holds; else empty.';
