"""A business measure: does the assistant still answer what customers must be able to ask?

A measure is called with the model and its tokenizer, in every stage of a run, and returns a dict of
numbers; each is logged as kpi/<name>. Options come from the keys beside `_target_`. This file needs
nothing of the package: what it does with the model is up to you.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class PassRate:
    """Share of questions whose answer holds every word that it must."""

    questions: str
    """JSON lines with `question` and the list `must_say`."""
    max_new_tokens: int = 40
    cases: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Read the questions; a missing file shows here, before any model is loaded."""
        lines = Path(self.questions).read_text(encoding="utf-8").splitlines()
        self.cases = [json.loads(line) for line in lines]

    def __call__(self, model: Any, tokenizer: Any) -> dict[str, float]:
        passed = [self.passes(case, model, tokenizer) for case in self.cases]
        return {"pass_rate": sum(passed) / len(passed)}

    def passes(self, case: dict[str, Any], model: Any, tokenizer: Any) -> bool:
        """Ask one question in the form in which the model learnt them, and look at the answer."""
        prompt = f"Question: {case['question']}\nAnswer:"
        ids = tokenizer(prompt, return_tensors="pt").to(model.device)
        output = model.generate(
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        answer = tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        return all(words.lower() in answer.lower() for words in case["must_say"])
