"""One paper per file: tensors in, (loss, measurements) out."""
