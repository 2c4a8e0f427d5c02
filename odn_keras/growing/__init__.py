"""Finding the depth while training: one module decides (`depth_growth`), one carries out (`growing_fit`)."""
