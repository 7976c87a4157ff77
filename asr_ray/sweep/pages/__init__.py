"""What came of a sweep, for people: the report as one HTML file, the entry for a log of experiments."""
