"""Image towers: how a picture becomes pixels, and pixels features."""
