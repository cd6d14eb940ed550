"""Many runs side by side, made from nothing but their folders.

`runs` reads, `likeness` and `groups` sort, `standing` and `planes` place, `recommendation` chooses,
`statistics` counts, `gather` is all of that together;
`printed`, `jobs`, `export`, `picture` and `html` show it; `written` leaves the files.
"""

from unlearn.report.comparison.gather import Comparison, compare
from unlearn.report.comparison.jobs import print_jobs
from unlearn.report.comparison.written import write_comparison

__all__ = ["Comparison", "compare", "print_jobs", "write_comparison"]
