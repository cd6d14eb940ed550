"""The text metrics of MUSE (Shi et al. 2024, arXiv 2407.06460): ROUGE-L F1 of greedy answers.

verbmem asks for the continuation of a passage, knowmem for the answer to a question after examples.
"""

from __future__ import annotations

from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.text import rouge_l, tokens_of

ENDS = ("\n\n", "\nQuestion", "Question:")
"""Where a model goes on after its answer, as the examples ahead of the question taught it."""


def answer_only(text: str) -> str:
    """Cut what was generated after a question at a blank line or at the next question."""
    for end in ENDS:
        text = text.split(end)[0]
    return text


def rouge_f1(
    truth: str, answer: str, stemmer: bool = False, words: WordRule = "tofu"
) -> float | None:
    """ROUGE-L F1 = 2·P·R / (P + R), in [0, 1]; 0 where nothing is in common, None where the truth
    has no word.

    P and R are the longest common subsequence of words over the words of the answer and of the
    truth. Words are runs of a-z and 0-9 after lowercasing, as in MUSE's own code, or those of every
    script (`words="unicode"`); with `stemmer`, words of a-z over three letters are stemmed, as
    OpenUnlearning does. MUSE's own code does not stem.
    """
    wanted, said = (tokens_of(text, words, stemmer) for text in (truth, answer))
    return rouge_l(wanted, said).f1 if wanted else None
