"""The door: the only room that touches the dataset."""
