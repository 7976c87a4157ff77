"""Hypotheses -> error rates, per locale and by rules that can be read; pure."""
