"""Corpora -> shards -> mix -> plan -> batches, in that order; knows nothing of models."""
