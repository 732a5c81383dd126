"""The kinds of models: a module each, with what it takes to make models of it."""
