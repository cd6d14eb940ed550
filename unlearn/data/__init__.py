"""Readers: each one turns a source of rows into `Splits`, and refuses rows nobody should train on.

A reader is a dataclass whose fields are its options and whose `read()` returns `Splits`. A new one
is a module with such a class and a YAML file that names it in `_target_`.
"""

from unlearn.data.splits import Judged, Quiz, Row, Splits

__all__ = ["Judged", "Quiz", "Row", "Splits"]
