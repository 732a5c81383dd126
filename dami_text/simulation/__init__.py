"""Whole experiments: a run, its figures."""
