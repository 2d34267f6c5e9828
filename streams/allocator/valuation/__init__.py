"""What a warm instance is worth: from expected requests to values; no commands and no state."""
