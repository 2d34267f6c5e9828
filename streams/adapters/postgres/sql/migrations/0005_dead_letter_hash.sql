ALTER TABLE dead_letters ADD COLUMN sha256 text;

COMMENT ON TABLE dead_letters IS
    'Records that could not be used, where they are and why; more of each on the topic dead-letters.';
COMMENT ON COLUMN dead_letters.sha256 IS
    'Of the whole value, in hexadecimal; empty for a record without value and from earlier releases.';
