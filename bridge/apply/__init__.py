"""What every apply node does: it begins with a Scope (begin.py), and ends with the outputs that the Scope gives."""
