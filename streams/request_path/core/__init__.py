"""What the gateway and the processes around Envoy share: claims, warm pool, orchestration, outcomes."""
