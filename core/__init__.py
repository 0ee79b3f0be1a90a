"""Formulas, file formats, geometry and drawing, with what every host brings (torch, numpy, Pillow), and no host."""
