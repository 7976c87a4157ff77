"""Whether a machine or cluster can hold a run: facts are gathered at the edges, pure functions judge them."""
