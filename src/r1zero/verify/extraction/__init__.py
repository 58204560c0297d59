"""Where in a response its answer stands."""
