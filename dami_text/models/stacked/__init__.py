"""Many trainings side by side: their models' weights are stacked, and each step is one for all of them."""
