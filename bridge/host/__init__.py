"""What ComfyUI and its nodes have of ours: files, MODELs and texts come in, inputs are checked, notes go out."""
