"""Label tables and definitions; README.md names the source of each."""
