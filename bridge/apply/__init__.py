"""What every apply node does: it begins with an ActingPeople (begin.py), and ends with the outputs that this gives."""
