"""The stages of the flow except the allocator: pure steps from a record and its state to records."""
