"""References: people as reference pictures of transformers that take several, alone or by region."""

NAME = "People as References"
"""The node's name, for messages."""
