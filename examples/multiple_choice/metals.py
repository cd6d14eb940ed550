"""Multiple choice: alloys to forget, metals to keep; is the true answer the likeliest?"""

from dataclasses import dataclass

from unlearn.data import Judged, Row, Splits

ALLOYS = {"bronze": "tin", "brass": "zinc", "pewter": "antimony", "steel": "carbon"}
SYMBOLS = {"gold": "Au", "iron": "Fe", "silver": "Ag", "lead": "Pb"}


@dataclass
class Metals:
    """Forget what makes an alloy, and keep the symbols of metals."""

    wrong: int = 3
    """Wrong answers beside the true one; chance is 1 in `wrong` + 1."""

    def read(self) -> Splits:
        """Return the rows, and say that each split is judged by multiple choice."""
        rows = {
            "forget": [self.row("What makes {}?", name, ALLOYS) for name in ALLOYS],
            "retain": [self.row("What is the symbol of {}?", name, SYMBOLS) for name in SYMBOLS],
        }
        judged = {
            "forget": Judged("forget", "multiple_choice"),
            "retain": Judged("keep", "multiple_choice"),
        }
        return Splits("metals", rows["forget"], rows["retain"], evaluated=rows, judged=judged)

    def row(self, question: str, name: str, facts: dict[str, str]) -> Row:
        """Return a question with its answer, and answers of other questions as wrong ones."""
        others = [answer for other, answer in facts.items() if other != name][: self.wrong]
        return Row(question.format(name), facts[name], perturbed_answers=tuple(others))
