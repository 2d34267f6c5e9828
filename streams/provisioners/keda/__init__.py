"""KEDA's external scaler: how many instances are wanted, for autoscalers that ask."""
