"""The life of a run, and of a finished one that is measured again."""
