"""Published benchmarks of pictures of several people, drawn by our methods and measured by their own definitions."""
