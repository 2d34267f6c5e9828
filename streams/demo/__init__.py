"""A demonstration: synthetic users, small real services, everything else as in production."""
