"""Many runs side by side, made from nothing but their folders.

`runs` reads, `likeness` and `groups` sort, `statistics` counts, `gather` is all of that together;
`table`, `jobs`, `files`, `picture` and `page` show it; `command` is `unlearn-compare`.
"""

from unlearn.report.comparison.command import main, write_comparison
from unlearn.report.comparison.gather import Comparison, compare
from unlearn.report.comparison.jobs import print_jobs

__all__ = ["Comparison", "compare", "main", "print_jobs", "write_comparison"]
