"""The engine room: one function, applied to every subject."""
