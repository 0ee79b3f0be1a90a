"""The second pass: faces cut out, enlarged, and pasted back."""
