"""Reports of runs and files: the figures of `report.json`, the tables of the commands, and `report.html`."""
