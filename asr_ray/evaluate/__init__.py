"""Hypotheses -> counts -> rates with intervals -> verdicts and reports."""
