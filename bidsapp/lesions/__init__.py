"""The specimens: what we came for."""
