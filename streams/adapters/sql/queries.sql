-- create_migrations_table --
-- What `migrate` remembers; not part of the schema that it brings about.
CREATE TABLE IF NOT EXISTS foremesh_migrations (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- lock_migrations --
-- Held to the end of the transaction: of two that migrate at once, one waits.
SELECT pg_advisory_xact_lock(hashtext('foremesh_migrations'))

-- has_migrations_table --
SELECT to_regclass('foremesh_migrations') IS NOT NULL

-- applied_migrations --
SELECT name FROM foremesh_migrations

-- record_migration --
INSERT INTO foremesh_migrations (name) VALUES (%(name)s)
