"""What many tests need: the command, small models, fabricated runs."""
