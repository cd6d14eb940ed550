"""What the teacher-forced pass already shows of the model's own answers.

Where the model prefers the true tokens of an answer one after the other, those are its greedy
answer to the question, and so is the one that it prefers where it first departs from them. A model
that knows an answer by heart has thus nothing left to generate; the argmax of a pass over a whole
row and that of a pass token by token are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unlearn.data.tokens import Example


class GreedyStarts:
    """The longest known beginning of the greedy answer to every prompt that was scored."""

    def __init__(self, within: Mapping[Example, int] | None = None) -> None:
        """`within`: of these examples a prompt is also what ends before so many answer tokens."""
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._within = within or {}

    def add(self, examples: Sequence[Example], choices: Sequence[int]) -> None:
        """Learn from the tokens (N,) that the model prefers to those of the answers, in order."""
        first = 0
        for example in examples:
            chosen = choices[first : first + len(example.answer)]
            first += len(example.answer)
            for cut in {0, self._within.get(example, 0)}:
                prompt = example.prompt + example.answer[:cut]
                known = agreed(example.answer[cut:], chosen[cut:])
                if len(known) > len(self.of(prompt)):
                    self._known[prompt] = known

    def of(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """Return the first tokens of the greedy answer, the end token among them if it is known."""
        return self._known.get(tuple(prompt), ())


def agreed(answer: Sequence[int], choices: Sequence[int]) -> tuple[int, ...]:
    """Return the preferred tokens up to the first that is not the answer's, that one included."""
    for count, (token, choice) in enumerate(zip(answer, choices, strict=True), start=1):
        if token != choice:
            return tuple(choices[:count])
    return tuple(choices)
