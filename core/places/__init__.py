"""Where people stand: layouts, skeletons, regions, and who gets which place."""
