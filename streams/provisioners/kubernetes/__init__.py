"""Instances as pods of Deployments; the only package that speaks to an API server."""
