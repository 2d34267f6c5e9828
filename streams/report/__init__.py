"""Outcomes, instances and decisions summed up for people: tables, JSON, a picture, sentences."""
