"""What can be set: the typed schema, and the parts that a configuration names."""
