"""Many short runs and one decision: which mix, which learning rate, and where to collect data next."""
