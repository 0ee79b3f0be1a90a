"""ControlNets that apply nodes attach: how they get into the conditioning, and what they do while a run computes."""
