"""What a corpus is found to be: rows that can be trained on, duplicates, a profile, and the report of it."""
