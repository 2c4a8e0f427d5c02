"""For Android and the browser."""
