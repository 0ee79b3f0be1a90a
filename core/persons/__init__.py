"""Single people: made of photos, checked, combined, blended, saved, and compared with faces."""
