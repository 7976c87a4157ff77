"""What a training step costs on the device at hand, measured, fitted, kept, and used by planning."""
