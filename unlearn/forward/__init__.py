"""Every call of a model: losses of answers, passes over many rows, greedy answers."""
