"""The gateway: an HTTP server that orchestrates composites, alone or behind Envoy.

Envoy's configuration and the services that Envoy calls are in `streams.request_path.envoy`.
"""
