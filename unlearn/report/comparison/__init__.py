"""Many runs side by side, made from nothing but their folders.

`runs` reads, `likeness` and `groups` sort, `statistics` counts, `gather` is all of that together;
`table`, `files`, `picture` and `page` show it; `command` is `unlearn-compare`.
"""

from unlearn.report.comparison.command import main, write_comparison
from unlearn.report.comparison.gather import Comparison, compare

__all__ = ["Comparison", "compare", "main", "write_comparison"]
