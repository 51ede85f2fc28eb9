"""MetsAtlas: brain metastases, aligned to an atlas and counted."""
