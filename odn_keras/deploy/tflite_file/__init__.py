"""Reads and writes the contents of `.tflite` files."""
