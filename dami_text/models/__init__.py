"""The classifiers: networks, how they are trained and read, and the kinds that options name."""
