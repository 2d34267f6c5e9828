"""Stage "aggregator": the demand of all users of a partition as sums that cost nothing per user."""
