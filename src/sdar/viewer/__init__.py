"""A local page over run directories, and its static export. It only reads. No torch."""
