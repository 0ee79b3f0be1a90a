"""The second pass: faces that need it are cut out, sampled again in large, and pasted back into their pictures."""
