"""The hot operations on all CPU cores, compiled by numba when first called."""
