"""Instances as child processes of this machine, forked and limited by cgroups where asked."""
