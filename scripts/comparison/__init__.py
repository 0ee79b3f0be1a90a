"""What compare.py draws and how it is judged."""
