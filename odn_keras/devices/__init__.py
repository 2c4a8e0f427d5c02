"""The network for a device, one out of many: the search, its inputs, fine-tuning and routing."""
