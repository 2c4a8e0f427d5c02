"""A name or a path -> images -> batches."""
