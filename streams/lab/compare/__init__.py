"""Keep-alive policies on the same trace: cold starts against warm time; scores belong to evaluate."""
