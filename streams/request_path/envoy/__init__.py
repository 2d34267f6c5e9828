"""Envoy in the path of requests: its configuration, and the services that it calls.

::

    users -> Envoy (edge) -> warm instance, or activator, or gateway -> Envoy (inner) -> the same
               ^      |
      endpoints|      |access log
         control    access_log -> requests, outcomes

The gateway itself is in `streams.request_path.gateway`.
"""
