"""Files that devices load, and the runtimes that measure them."""
