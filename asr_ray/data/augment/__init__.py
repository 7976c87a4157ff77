"""Audio changed at random but reproducibly: planned (speed), listed (sounds), applied (effects)."""
