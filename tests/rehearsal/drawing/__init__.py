"""Drawing: images from noise."""
