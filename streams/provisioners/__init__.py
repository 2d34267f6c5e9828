"""Start and end instances as commanded; decisions about what to keep warm belong to the allocator."""
