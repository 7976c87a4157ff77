"""Scores -> what people open: the report, the overview, Markdown, a model card."""
