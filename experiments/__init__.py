"""The claims of the paper in small: settings written down before the runs, every seed shown."""
