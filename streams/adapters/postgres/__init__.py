"""All SQL and all that uses psycopg; what callers make of the rows stays out."""
