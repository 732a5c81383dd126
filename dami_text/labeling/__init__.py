"""Labelling for real: a person at the keys in place of the oracle, over the same learner."""
