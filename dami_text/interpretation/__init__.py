"""How a classifier's output changes with each word, and the most informative word of each text."""
