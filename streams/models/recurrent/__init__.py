"""One recurrent network for all users: its weights, how it follows a user, how it learns."""
