"""Instances as pods of Deployments; the only package that calls a Kubernetes API server."""
