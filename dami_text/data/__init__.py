"""Data: where texts come from, how they are split and tokenized, and the pool to choose from."""
