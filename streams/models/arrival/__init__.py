"""When a user's next request comes; which service it is for belongs to next_request."""
