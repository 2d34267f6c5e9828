"""Prequential scores of the models on a trace; the cost of keeping warm belongs to compare."""
