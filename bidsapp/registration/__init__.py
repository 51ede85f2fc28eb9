"""The workshop: two volumes in, an alignment out."""
