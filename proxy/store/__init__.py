"""The memory of usage: one SQLite file. Nothing here is needed to serve a request."""
