"""A method that is nowhere but here: the smallest folder below nodes/ that everything knows (test_toy_method.py)."""
