"""aiohttp in: the client port, the relay to the upstream, the admin port, and what carries out the engine's effects."""
