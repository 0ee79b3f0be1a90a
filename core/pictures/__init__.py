"""Pictures: tensors of the host, files of photos, sizes and boxes, and what previews are drawn with."""
