"""The floor: where things are."""
