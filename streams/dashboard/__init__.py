"""The dashboard: one live web page of the flow, from PostgreSQL; it changes only what an operator asks for."""
