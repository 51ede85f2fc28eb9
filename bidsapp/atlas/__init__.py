"""The map room: what a subject is compared with."""
