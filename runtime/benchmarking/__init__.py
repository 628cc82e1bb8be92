"""``voxport bench``: one network on one device or several, side by side."""
