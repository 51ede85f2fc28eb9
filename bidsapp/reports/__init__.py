"""The window: what people look at."""
