"""The speech model: its file, its prompts, its tokens, its decoding, and a small one of the same class."""
