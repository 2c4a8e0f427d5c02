"""A run: its options, its folder, what it does and what it reports."""
