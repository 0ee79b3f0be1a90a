"""Faces, bodies and saved people, found by networks that the host holds."""
