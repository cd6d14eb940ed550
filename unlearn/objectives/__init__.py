"""Objectives: each turns a batch into a loss to *minimise*, as a sum with its count.

Whoever calls an objective divides by the count of the whole logical batch, over all micro-batches,
so that gradients are of total sum / total count and never of means of means.
"""

from unlearn.objectives.alternatives import Alternatives
from unlearn.objectives.answer_preservation import AnswerPreservation
from unlearn.objectives.ascent import Ascent
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.bounded_ascent import BoundedAscent
from unlearn.objectives.ce_u import CEU
from unlearn.objectives.dpo import DPO
from unlearn.objectives.flat import FLAT
from unlearn.objectives.hidden_state import HiddenState
from unlearn.objectives.idk import IdkNLL
from unlearn.objectives.idk_dpo import IdkDPO
from unlearn.objectives.jensen_shannon import JensenShannon
from unlearn.objectives.jensun import JensUn
from unlearn.objectives.kl import KullbackLeibler
from unlearn.objectives.max_entropy import MaximumEntropy
from unlearn.objectives.nll import NegativeLogLikelihood
from unlearn.objectives.none import NoObjective
from unlearn.objectives.npo import NPO
from unlearn.objectives.rmu import RMU
from unlearn.objectives.satimp import SatImp
from unlearn.objectives.simnpo import SimNPO
from unlearn.objectives.undial import UNDIAL
from unlearn.objectives.wga import WGA
from unlearn.objectives.whp import WHP

__all__ = [
    "CEU",
    "DPO",
    "FLAT",
    "NPO",
    "RMU",
    "UNDIAL",
    "WGA",
    "WHP",
    "Alternatives",
    "AnswerPreservation",
    "Ascent",
    "BoundedAscent",
    "HiddenState",
    "IdkDPO",
    "IdkNLL",
    "JensUn",
    "JensenShannon",
    "KullbackLeibler",
    "MaximumEntropy",
    "NegativeLogLikelihood",
    "NoObjective",
    "Objective",
    "Resources",
    "SatImp",
    "SimNPO",
]
