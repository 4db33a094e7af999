"""Owns the state of one upstream: event in, effects out. Pure and synchronous; reads no clock, does no I/O."""
