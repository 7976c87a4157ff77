"""What keeps a run alive, or ends it with a reason: pulses, locks, requests to stop, causes."""
