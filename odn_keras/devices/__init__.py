"""One network out of many for a device: the search, its inputs and what follows it."""
