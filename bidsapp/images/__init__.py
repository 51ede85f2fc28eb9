"""The pictures: intensities and labels, with where they sit."""
