"""A network with exits as a chain of files, which an image leaves early."""
