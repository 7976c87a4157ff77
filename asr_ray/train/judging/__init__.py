"""How good the weights are while they are trained, and which of them are kept."""
