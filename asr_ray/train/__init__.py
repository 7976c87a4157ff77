"""The loop, its checkpoints and ledger, and the Ray Train run around them."""
