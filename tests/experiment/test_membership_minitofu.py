"""Who has seen neither cannot tell forget rows of `minitofu` from holdout rows."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_module
from support import tiny

from unlearn.composition.register import register
from unlearn.evaluation.membership import membership
from unlearn.evaluation.suites import Suite
from unlearn.experiment.settings import settings_of
from unlearn.models.load import load_tokenizer
from unlearn.models.prepare import Preparation
from unlearn.models.prepared import Prepared

READER = (
    "model.tiny.layers=1",
    "model.tiny.hidden_size=64",
    "model.tiny.intermediate_size=128",
    "model.fine_tuning.epochs=8",
    "model.fine_tuning.floor=0",
)
"""Enough to learn what is told how often: before facts were dealt, every AUC was below 0.4."""


@pytest.mark.slow
@pytest.mark.trains
def test_every_attack_on_the_reference_is_at_chance() -> None:
    """Of two samples of 40 rows that nothing relates, an AUC has a standard error of 0.065."""
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        settings = settings_of(compose("config", ["tracker=none", *READER]))
    splits, config = settings.read(), settings.model
    preparation = Preparation(config, splits, tiny.COMPUTE)
    reference = preparation.reference("train", None, Prepared("not taught", None, None))
    assert reference is not None
    encoder = preparation.encoder(load_tokenizer(config, reference.folder), reference.folder)
    asked = {name: splits.evaluated[name] for name in ("forget", "holdout")}
    suite = Suite(asked, encoder, settings.evaluation, tiny.COMPUTE)
    scores = suite.score(preparation.load(reference), "reference")
    found = membership(scores, None, settings.evaluation.min_k, [])
    assert set(found) == {"mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus"}
    assert found == pytest.approx(dict.fromkeys(found, 0.5), abs=0.08)
