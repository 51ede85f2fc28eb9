"""Other tools beside ours: the same scans, the same affine start, the same scorer."""
