"""A metric of one's own, from rows and score table: does the model still know the long answers?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from unlearn.data import Row


def probability(
    model: Any, tokenizer: Any, rows: dict[str, list[Row]], scores: pd.DataFrame, words: int = 8
) -> dict[str, float]:
    """Return the mean probability per token of the forget answers with at least so many words."""
    answers = scores[(scores["split"] == "forget") & (scores["kind"] == "answer")]
    long = [len(rows["forget"][index].answer.split()) >= words for index in answers["index"]]
    mean_nll = answers["nll_sum"][long] / answers["tokens"][long]
    return {"long_answers": float(np.exp(-mean_nll).mean())}
