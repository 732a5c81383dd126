"""The active learner."""
