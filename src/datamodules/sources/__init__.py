"""Where encoded face images come from: one reader per format that labs keep them in."""
