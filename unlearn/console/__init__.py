"""What a person sees while it runs: bars, and lines of the log."""
