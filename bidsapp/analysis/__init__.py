"""The questions asked of a cohort, each answered by the tests that fit it."""
