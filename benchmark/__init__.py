"""What MetsAtlas measures of itself: cases, their results, and the figures that are published."""
