"""What to keep warm in a pool: demand, values, packing and commands; pure, and knows no user."""
