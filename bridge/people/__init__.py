"""Faces, photos and saved people; the networks that find faces are held by the host."""
