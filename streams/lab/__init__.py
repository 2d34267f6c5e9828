"""Experiments on recorded traces and the models that only they run; no worker imports them."""
