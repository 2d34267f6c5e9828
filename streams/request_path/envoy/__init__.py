"""The interceptor in a real mesh: Envoy in the path of requests, and what drives it.

::

    users -> Envoy (edge) -> warm instance, or activator, or gateway -> Envoy (inner) -> the same
               ^      |
      endpoints|      |access log
         control    access_log -> requests, outcomes
"""
