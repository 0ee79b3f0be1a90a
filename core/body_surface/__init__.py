"""The surface of bodies: DensePose's parts and their coordinates, found, drawn without a photo, and as masks."""
