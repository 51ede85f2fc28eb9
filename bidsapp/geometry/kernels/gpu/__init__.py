"""The hot operations on a CUDA card, written in Triton.

Nothing waits for the host, and results are the same bytes at every run: label sums are added block by block,
and what many voxels add to one place is added in whole numbers, whose order does not matter.
"""
