"""Instances as child processes of this machine; nothing here knows Kubernetes."""
