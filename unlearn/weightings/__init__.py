"""Weightings: pure functions `weights = weighting(gramian, losses)` for two tasks.

Order everywhere: retain first, forget second. The gradients are of the losses being *minimised*, so
for ascent g_forget = −∇L_F and the Gramian is [[g_R·g_R, −p], [−p, g_F·g_F]] with p = g_R·g_F
(METHODS: notation). The update direction is w_retain·g_retain + w_forget·g_forget.
"""

from unlearn.weightings.base import Weighting
from unlearn.weightings.blur import BLUR
from unlearn.weightings.diagnostics import admissible_shares, diagnose
from unlearn.weightings.forget_dual import ForgetDual
from unlearn.weightings.gru import GRU
from unlearn.weightings.guarded import Guarded
from unlearn.weightings.hamu_q import HAMUQ
from unlearn.weightings.imtl_g import IMTLG
from unlearn.weightings.linear import Linear
from unlearn.weightings.loss_norm import LossNorm
from unlearn.weightings.mgda import MGDA
from unlearn.weightings.nash_mtl import NashMTL
from unlearn.weightings.ngdiff import NGDiff
from unlearn.weightings.pcgrad import PCGrad
from unlearn.weightings.primal_dual import PrimalDual
from unlearn.weightings.random import RandomWeighting
from unlearn.weightings.torchjd import TorchJDWeighting

__all__ = [
    "BLUR",
    "GRU",
    "HAMUQ",
    "IMTLG",
    "MGDA",
    "ForgetDual",
    "Guarded",
    "Linear",
    "LossNorm",
    "NGDiff",
    "NashMTL",
    "PCGrad",
    "PrimalDual",
    "RandomWeighting",
    "TorchJDWeighting",
    "Weighting",
    "admissible_shares",
    "diagnose",
]
