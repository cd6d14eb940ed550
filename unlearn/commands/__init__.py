"""The doors: `unlearn`, and `unlearn-evaluate`, `-compare`, `-requests` and `-alternatives`."""
