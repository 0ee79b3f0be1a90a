"""Faces in a picture: found, turned and recognised, and the networks that do it; what they express, in words."""
