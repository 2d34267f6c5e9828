"""The inline interceptor without Envoy: a reverse proxy in front of the composite services."""
