"""The demonstration: synthetic users and small services; everything else as in production."""
