"""Formulas, file formats, geometry and drawing: torch and numpy, no host."""
