"""What the papers compare, on the package's own tools."""
