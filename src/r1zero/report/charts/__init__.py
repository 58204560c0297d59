"""Which charts a page has, as data."""
