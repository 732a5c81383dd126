"""Model cards, and what is pushed to the Hub."""
