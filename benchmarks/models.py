"""Which architectures are measured, answered and saved exactly: docs/models.md, by `make models`.

    python -m benchmarks.models             # print the table
    python -m benchmarks.models --write     # and put it into docs/models.md

Each is a small random model, saved and loaded as a user's own is, under two chat templates with a
system prompt. Losses are compared with a plain loop over rows, answers with transformers'
`generate`, the saved folder with the one that was loaded.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.architectures import ARCHITECTURES, random_model
from unlearn.compute.device import Compute
from unlearn.console import once
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder
from unlearn.errors import UnlearnError, first_line
from unlearn.evaluation.scoring import Scored, answers_to_score, score
from unlearn.forward.generation import end_tokens, generate
from unlearn.models.load import load_tokenizer, load_weights, ready
from unlearn.models.tiny import END, PAD, tiny_tokenizer
from unlearn.options.schema import Attention, ModelConfig
from unlearn.storage.weights import save_model

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, FINISH = "<!-- table -->", "<!-- end of the table -->"
SAME = 1e-4
"""Nats a token by which the saved model may differ, loaded by transformers alone: RWKV then halves
its states on the way, which its layer norms all but undo."""
MOST = 12
"""New tokens of an answer."""
SYSTEM = "You answer questions about the town of Varn, in a few words, and truly."
PLACES = ("harbour", "old lighthouse", "mill by the river", "ferry to the island of Holm")
ROWS = [
    Row(
        f"Who kept the {place} of Varn{tail}?",
        f"{name} kept it.",
        perturbed_answers=(f"{name} sold it, and nobody has kept it since.",),
    )
    for place, name in zip(PLACES, ("Odile", "Emil", "Runa", "Tavi"), strict=True)
    for tail in ("", " in the year in which the new bridge was built")
]
ENDED = "<|turn_end|>"
TEMPLATES = {
    "turns that end by a token of their own": (
        "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|turn_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    ),
    "turns that end by the tokenizer's": (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"
        "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n"
        "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
    ),
}
KEPT = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class Found:
    """What was found of one architecture, the worse of the templates."""

    attention: str
    loss: float
    """Largest difference of a row's mean loss to that of a plain loop, in nats a token."""
    same: int
    asked: int
    """Answers equal to those of `generate`, of so many."""
    distinct: int
    """Different answers among them: a model that always says the same would show nothing."""
    saved: list[str]
    """Files of the saved folder that are not as they were; weights, where it loads as others."""
    said: list[str]
    """What the log says of it."""
    refused: str = ""

    @property
    def exact(self) -> bool:
        """Whether everything is as it should be."""
        return self.loss <= 1e-5 and self.same == self.asked and not self.saved

    @property
    def line(self) -> list[str]:
        """The cells of its row behind its name."""
        if self.refused:
            return ["", "", "", "", f"refused: {self.refused}"]
        return [
            self.attention,
            "equal" if self.loss <= 1e-5 else f"off by {self.loss:.0e}",
            "equal" if self.same == self.asked else f"{self.same} of {self.asked}",
            ", ".join(self.saved) or "equal",
            "; ".join(line.split(": ")[0] for line in self.said),
        ]


def tokenizer_with(template: str) -> Any:
    """A byte-pair tokenizer of the rows with a chat template."""
    tokenizer = tiny_tokenizer([text for r in ROWS for text in (r.question, r.answer)], 400)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", ENDED]})
    tokenizer.chat_template = template
    assert {END, PAD} <= set(tokenizer.get_vocab())
    return tokenizer


@torch.no_grad()
def plain_loss(model: Any, answer: Scored) -> float:
    """Return the mean NLL of an answer from the full logits of one row."""
    prompt, ids = answer.example.prompt, answer.example.answer
    logits = model(input_ids=torch.tensor([prompt + ids]), use_cache=False).logits[0].float()
    losses = -logits[len(prompt) - 1 : -1].log_softmax(-1)[range(len(ids)), list(ids)]
    return float(losses.double().mean())


@torch.no_grad()
def plain_answer(model: Any, encoder: Encoder, prompt: Sequence[int]) -> str:
    """Return what transformers' `generate` says behind one prompt, cut at its first end token."""
    ends = end_tokens(model, encoder)
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
        max_new_tokens=MOST,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=encoder.tokenizer.pad_token_id,
    )[0, len(prompt) :].tolist()
    stop = next((place for place, token in enumerate(found) if token in ends), len(found))
    return encoder.text(found[:stop]).strip()


def changed_files(before: Path, after: Path) -> list[str]:
    """Return which files of a saved folder do not say what those of the loaded one say."""
    differ = []
    for name in (*KEPT, TEMPLATE_FILE):
        texts = [
            (folder / name).read_text(encoding="utf-8") if (folder / name).exists() else None
            for folder in (before, after)
        ]
        if name != TEMPLATE_FILE:
            texts = [_said_by(text) for text in texts]
        if texts[0] != texts[1]:
            differ.append(name)
    return differ


def _said_by(text: str | None) -> Any:
    """Return what a JSON file says, but for where transformers found what it has loaded."""
    if text is None:
        return None
    return {k: v for k, v in json.loads(text).items() if k not in ("is_local", "local_files_only")}


class _Lines(logging.Handler):
    """Keeps what is said once of an architecture."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().split(" ", 1)[1])


def saved_as_by_its_author(name: str, template: str, folder: Path) -> Attention:
    """Save the architecture into `folder`; return which attention it chooses for itself.

    With the class of tokenizer that transformers takes for the architecture, which may have tokens
    besides: it is saved, loaded and saved again.
    """
    from transformers import AutoTokenizer

    tokenizer = tokenizer_with(template)
    save_model(random_model(name, tokenizer), tokenizer, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = random_model(name, tokenizer)
    save_model(model, tokenizer, folder)
    return Attention(model.config._attn_implementation)


def examine(name: str, template: str, folder: Path) -> Found:
    """Return what is found of one architecture under one template; `folder` is empty."""
    given, written = folder / "given", folder / "written"
    attention = saved_as_by_its_author(name, template, given)
    config = ModelConfig(path=str(given), attention=attention, system_prompt=SYSTEM)
    kept = _Lines()
    logger = logging.getLogger("unlearn.forward")
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    once.said.clear()
    try:
        compute = Compute(torch.device("cpu"))
        model = ready(load_weights(config, str(given)), config, compute)
        encoder = Encoder(load_tokenizer(config, str(given)), system_prompt=SYSTEM)
        answers = answers_to_score(encoder, "forget", ROWS)
        table = score(model, answers, compute)
        means = (table["nll_sum"] / table["tokens"]).tolist()
        loss = max(abs(m - plain_loss(model, a)) for m, a in zip(means, answers, strict=True))
        prompts = [a.example.prompt for a in answers if a.kind == "answer"]
        ours = generate(model, encoder, prompts, compute, MOST)
        theirs = [plain_answer(model, encoder, prompt) for prompt in prompts]
    except UnlearnError as error:
        return Found(attention.value, 0.0, 0, 0, 0, [], [], first_line(error))
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)
    save_model(model, encoder.tokenizer, written)
    saved = changed_files(given, written)
    again = load_weights(replace(config, path=str(written)), str(written)).eval()
    if abs(plain_loss(again, answers[0]) - plain_loss(model, answers[0])) > SAME:
        saved.append("weights")
    return Found(
        attention.value,
        loss,
        sum(one == other for one, other in zip(ours, theirs, strict=True)),
        len(prompts),
        len(set(theirs)),
        saved,
        kept.lines,
    )


def worse(found: Sequence[Found]) -> Found:
    """Return the result of the template under which less is right."""
    return max(found, key=lambda f: (not f.exact, bool(f.refused), f.loss))


def examined(name: str, templates: Sequence[str] = tuple(TEMPLATES)) -> Found:
    """Return what is found of an architecture, under both templates unless one is named."""
    found = []
    for template in (TEMPLATES[each] for each in templates):
        with tempfile.TemporaryDirectory() as folder:
            found.append(examine(name, template, Path(folder)))
    return worse(found)


HEADER = ["architecture", "attention", "losses", "answers", "saved folder", "and so"]


def table_of(find: Callable[[str], Found] = examined) -> str:
    """Return the table in Markdown, one row an architecture."""
    rows = [HEADER, ["---"] * len(HEADER)]
    rows += [[name, *find(name).line] for name in ARCHITECTURES]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, and write it where that is asked for."""
    import transformers

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--write", action="store_true", help=f"also into docs/{PAGE.name}")
    write = parser.parse_args(words).write
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    table = table_of()
    print(table, end="")
    if write:
        text = PAGE.read_text(encoding="utf-8")
        head, rest = text.split(BEGIN)
        tail = rest.split(FINISH)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{table}{FINISH}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
