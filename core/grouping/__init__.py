"""Faces of many photos sorted into people: by what they look like, by the names of files, and by hand."""
