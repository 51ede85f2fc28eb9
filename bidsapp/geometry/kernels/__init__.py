"""The few hot operations, each as a readable reference and as a fast twin."""
