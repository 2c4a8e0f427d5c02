"""What devices load, and the runtimes that measure it."""
