"""Reports of measurements: `python -m tools.report FILE.json` makes a page and pictures of a results file."""
