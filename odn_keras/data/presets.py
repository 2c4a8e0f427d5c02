"""The presets of augmentation: data only."""

# Values of `Augmentation`, and of label smoothing; shift as a part of the image's shorter side. docs/AUGMENTATION.md
# has the measurements.
PRESETS: dict[str, dict[str, float]] = {
    "none": {},
    "light": {"shift": 1 / 8, "flip": 1},
    "standard": {"shift": 1 / 8, "flip": 1, "zoom": 0.1, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "strong": {
        "shift": 1 / 8,
        "flip": 1,
        "rotate": 10,
        "zoom": 0.2,
        "brightness": 0.3,
        "contrast": 0.3,
        "saturation": 0.3,
        "hue": 10,
        "erase": 0.2,
        "mixup": 0.2,
        "cutmix": 1.0,
        "label_smoothing": 0.1,
    },
}
