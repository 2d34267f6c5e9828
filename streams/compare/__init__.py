"""The same log under every policy that one might have instead: cold starts against warm time."""
