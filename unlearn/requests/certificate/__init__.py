"""Certificate and decision page of a request: for who checks it, and for who decides."""

from unlearn.requests.certificate.sheets import write

__all__ = ["write"]
