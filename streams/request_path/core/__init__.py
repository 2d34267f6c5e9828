"""What the gateway and the processes around Envoy share; nothing that only one of them needs."""
