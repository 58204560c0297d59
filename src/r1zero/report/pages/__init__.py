"""HTML pages: of runs and of analyses."""
