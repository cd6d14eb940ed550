"""Generated questions about fictitious authors: their text, and the reader."""

from unlearn.data.minitofu.reader import MiniTofu

__all__ = ["MiniTofu"]
