"""The options of runs and sessions."""
