"""The rehearsal: virtual patients and virtual metastases whose every answer is known."""
