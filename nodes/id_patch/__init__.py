"""ID-Patch: several people in one pass, each face bound to its place by a patch and ID tokens."""
