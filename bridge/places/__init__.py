"""Where people stand, found while a MODEL samples a few steps."""
