"""Which service a user asks for next, and the state rows of that model; when they ask is arrival's."""
