"""Prequential scores of the models on a trace; what warm pools cost on it belongs to compare."""
