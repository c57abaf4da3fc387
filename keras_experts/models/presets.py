"""Networks by name, as data."""

# Residual units in each of the four blocks, by depth. Depths 14 and 26 are
# one and two units a block; 18 and 34 would need units without a bottleneck.
BLOCK_UNITS = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

# The networks of Big Transfer (Kolesnikov et al., 2020, section 3.1); the
# paper uses the first. "small" ones are ours, for images of 28 to 64 pixels.
PRESETS = {
    "r50x1": {"depth": 50, "width": 1.0, "root": "imagenet"},
    "r50x3": {"depth": 50, "width": 3.0, "root": "imagenet"},
    "r101x1": {"depth": 101, "width": 1.0, "root": "imagenet"},
    "r101x3": {"depth": 101, "width": 3.0, "root": "imagenet"},
    "r152x2": {"depth": 152, "width": 2.0, "root": "imagenet"},
    "r152x4": {"depth": 152, "width": 4.0, "root": "imagenet"},
    "r14x0.25_small": {"depth": 14, "width": 0.25, "root": "small"},
    "r14x0.5_small": {"depth": 14, "width": 0.5, "root": "small"},
    "r26x0.5_small": {"depth": 26, "width": 0.5, "root": "small"},
}
