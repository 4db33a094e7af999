"""Values, events and effects that cross the borders between layers. Standard library only."""
