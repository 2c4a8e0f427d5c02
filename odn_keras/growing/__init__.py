"""Training while the depth is found: one module decides (`depth_growth`), one carries out (`growing_fit`)."""
