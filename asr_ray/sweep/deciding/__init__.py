"""From the records of trials to a decision, and to advice."""
