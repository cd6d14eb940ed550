"""Finding the rows that a request is about."""

from unlearn.requests.finding.outcome import Finding
from unlearn.requests.finding.sifting import Retained, find
from unlearn.requests.finding.sources import Reading
from unlearn.requests.finding.subject import Subject, read_subject

__all__ = ["Finding", "Reading", "Retained", "Subject", "find", "read_subject"]
