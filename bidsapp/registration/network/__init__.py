"""The paper's network: two images in, a velocity out."""
