"""Schedulers set the learning rate and take the optimizer's step."""

from unlearn.schedulers.base import Rate, Scheduler
from unlearn.schedulers.gen import Gen
from unlearn.schedulers.gen_authors import GenAuthors
from unlearn.schedulers.ordinary import Constant, Cosine, LinearDecay

__all__ = ["Constant", "Cosine", "Gen", "GenAuthors", "LinearDecay", "Rate", "Scheduler"]
