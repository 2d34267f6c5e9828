"""Prequential evaluation: every event is predicted before it is learnt, by the live code."""
