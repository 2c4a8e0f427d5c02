"""Training while the depth is found: `growth_plan` decides, `growing_fit` carries out."""
