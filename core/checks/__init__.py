"""Checks of what users and files give, and the errors, texts and names that they are told with."""
