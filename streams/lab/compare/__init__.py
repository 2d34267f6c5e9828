"""Compares keep-alive policies on one trace; scores of predictions belong to evaluate."""
