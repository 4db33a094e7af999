"""Metrics and log lines, derived from events and effects; nothing here changes what is decided."""
