"""The file of labels."""
