"""Model folders with which something is wrong: weights, configuration, tokenizer, chat template.

Each case changes a copy of one small good folder. What is drawn by chance has a fixed seed.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import tiny
from support.damage import cut as cut_at_random
from support.damage import rewrite, spoil

DEEP = 100_000
DIGITS = "9" * 5_000
LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 269060552\n"
)
WEIGHTS, CONFIG = "model.safetensors", "config.json"
TOKENIZER, TOKENS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@dataclass(frozen=True)
class Case:
    """A way in which a folder is bad, and what is said of it."""

    change: Callable[[Path], Any]
    told: str = ""
    """Stands in the message."""
    harmless: bool = False
    """Whether it may turn out to change nothing that matters, as a bit of a weight does."""


def good_folder(folder: Path) -> Path:
    """Save the small model and its tokenizer, with a chat template."""
    tokenizer = tiny.tokenizer()
    tiny.model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / TEMPLATE).write_text(CHAT)
    return folder


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Give a file other content."""
    return lambda folder: rewrite(folder, name, content)


def field(name: str, key: str, raw: str) -> Callable[[Path], None]:
    """Give a field of a JSON file a value, as JSON."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / name).read_text())
        whole[key] = "\0here\0"
        rewrite(folder, name, json.dumps(whole).replace(json.dumps("\0here\0"), raw))

    return change


def edited(name: str, edit: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Edit what a JSON file holds."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / name).read_text())
        rewrite(folder, name, json.dumps(edit(whole) or whole))

    return change


def at(name: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Put what is no file in the place of one."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def sparse(path: Path, size: int = 2**30) -> None:
    path.touch()
    os.truncate(path, size)


def header(raw: str, length: int | None = None, weights: int = 64) -> bytes:
    """A safetensors file with a header of one's own."""
    return (len(raw) if length is None else length).to_bytes(8, "little") + (
        raw.encode() + bytes(weights)
    )


def half(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    rewrite(folder, name, content[: len(content) // 2])


def of_weights() -> Iterator[tuple[str, Case]]:
    one = '{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
    name = "its model.safetensors"
    yield "weights cut", Case(lambda folder: half(folder, WEIGHTS), f"{name} is cut")
    yield "weights empty", Case(text(WEIGHTS, b""), f"{name} is empty")
    yield "weights of seven bytes", Case(text(WEIGHTS, b"1234567"), "no safetensors file")
    yield "weights a pointer", Case(text(WEIGHTS, LFS), "pointer of git-LFS")
    yield "weights text", Case(text(WEIGHTS, "<html>404</html>" * 9), "no safetensors file")
    yield "weights zeros", Case(text(WEIGHTS, bytes(4096)), "broken header")
    yield "weights sparse", Case(at(WEIGHTS, sparse), "broken header")
    yield "weights a pipe", Case(at(WEIGHTS, os.mkfifo), "no regular file")
    yield "weights a link to itself", Case(at(WEIGHTS, lambda p: p.symlink_to(p.name)), name)
    yield "weights a device", Case(at(WEIGHTS, lambda p: p.symlink_to("/dev/zero")), name)
    yield "weights a folder", Case(at(WEIGHTS, Path.mkdir), "")
    yield "weights gone", Case(lambda folder: (folder / WEIGHTS).unlink(), "")
    yield "weights of others", Case(text(WEIGHTS, header(one, weights=16)), "lacks")
    for what, raw in {
        "deep": "[" * DEEP,
        "a list": "[]",
        "no tensor": '{"a":1}',
        "a negative shape": one.replace("[2,2]", "[-2,2]"),
        "a huge shape": one.replace("[2,2]", f"[{DIGITS},2]"),
        "offsets of text": one.replace("[0,16]", '["a","b"]'),
        "no letter": '{"\udcff":1}'.encode("utf-8", "surrogateescape").decode("latin-1"),
    }.items():
        yield f"header {what}", Case(text(WEIGHTS, header(raw)), "model.safetensors")
    yield "header of another dtype", Case(text(WEIGHTS, header(one.replace("F32", "X9"))), "")
    yield (
        "header longer than the file",
        Case(text(WEIGHTS, header(one, 2**40)), "cut in its header"),
    )
    yield (
        "header beyond the weights",
        Case(text(WEIGHTS, header(one.replace("16]", "160]"))), "is cut: 64 of 160 bytes"),
    )
    yield (
        "an index that names no file",
        Case(
            lambda folder: (
                (folder / WEIGHTS).unlink(),
                rewrite(
                    folder, "model.safetensors.index.json", '{"weight_map":{"a":"b.safetensors"}}'
                ),
            )
        ),
    )
    yield (
        "an index of wrong types",
        Case(
            lambda folder: (
                (folder / WEIGHTS).unlink(),
                rewrite(folder, "model.safetensors.index.json", '{"weight_map": 5}'),
            )
        ),
    )
    yield (
        "an index that leads out",
        Case(
            lambda folder: (
                (folder / WEIGHTS).unlink(),
                rewrite(
                    folder,
                    "model.safetensors.index.json",
                    '{"metadata":{},"weight_map":{"a":"../../../etc/passwd"}}',
                ),
            )
        ),
    )


NUMBERS = {
    "hidden_size": ("0", "-32", '"32"', "31", "3.5", "null", "[]", "1000000000000", DIGITS),
    "num_hidden_layers": ("0", "-1", "3", "1000000000", '"two"'),
    "num_attention_heads": ("0", "-4", "3", '"four"', "1000000000000"),
    "num_key_value_heads": ("0", "3", '"x"'),
    "intermediate_size": ("0", "-64", '"64"', "1000000000000"),
    "vocab_size": ("0", "-1", "100", '"many"', "1000000000000"),
    "max_position_embeddings": ("0", "-1", '"long"'),
    "hidden_act": ('"nonsense"', "5", "null"),
    "model_type": ('"nonsense"', "5", '""', '"bert"', '"t5"'),
    "rope_parameters": ('{"rope_type": "nonsense"}', "5", '{"rope_type": "yarn"}'),
    "rms_norm_eps": ('"x"', "NaN", "-1e9"),
    "head_dim": ("0", "7", '"x"'),
    "dtype": ('"nonsense"', "5"),
    "quantization_config": ("5", '"x"'),
    "attn_implementation": ('"nonsense"',),
}
"""Values, as JSON, that fields of config.json cannot have beside these weights."""
HARMLESS = {
    ("attn_implementation", '"nonsense"'),
}


def of_configuration() -> Iterator[tuple[str, Case]]:
    for key, values in NUMBERS.items():
        for raw in values:
            shown = raw if len(raw) < 30 else "of 5,000 digits"
            yield (
                f"{key} {shown}",
                Case(field(CONFIG, key, raw), "", (key, raw) in HARMLESS),
            )
    for what, content in {
        "empty": "",
        "cut": '{"model_type": "lla',
        "a list": "[1, 2]",
        "a text": '"llama"',
        "null": "null",
        "deep": '{"a":' * DEEP,
        "deep and whole": '{"model_type": "llama", "a":' + "[" * 900 + "]" * 900 + "}",
        "no letter": b'{"model_type": "\xff"}',
        "a pointer": LFS,
        "enormous": '{"a": "' + "x" * (17 * 2**20) + '"}',
        "an empty object": "{}",
    }.items():
        yield (
            f"config {what}",
            Case(text(CONFIG, content), "config.json" if content != "{}" else ""),
        )
    yield "config a pipe", Case(at(CONFIG, os.mkfifo), "config.json")
    yield "config sparse", Case(at(CONFIG, sparse), "config.json")
    yield "config a folder", Case(at(CONFIG, Path.mkdir), "config.json")
    yield (
        "generation config deep",
        Case(text("generation_config.json", '{"a":' * DEEP), "generation_config.json"),
    )
    yield (
        "generation config of wrong types",
        Case(text("generation_config.json", '{"eos_token_id": "x", "max_length": []}'), "", True),
    )


def of_tokenizer() -> Iterator[tuple[str, Case]]:
    for what, content in {
        "empty": "",
        "an empty object": "{}",
        "a list": "[]",
        "deep": '{"a":' * DEEP,
        "a pointer": LFS,
        "binary": bytes(range(256)) * 8,
        "of a version to come": '{"version": "9.0", "model": {"type": "Other"}}',
        "zeros": bytes(2048),
    }.items():
        yield f"tokenizer {what}", Case(text(TOKENIZER, content))
    yield "tokenizer cut", Case(lambda folder: half(folder, TOKENIZER))
    yield "tokenizer a pipe", Case(at(TOKENIZER, os.mkfifo), "tokenizer.json is no regular file")
    yield "tokenizer sparse", Case(at(TOKENIZER, sparse), "tokenizer.json has 1,073,741,824 bytes")
    yield "tokenizer gone", Case(lambda f: [(f / n).unlink() for n in (TOKENIZER, TOKENS)])

    def model(**options: Any) -> Callable[[Any], None]:
        return lambda whole: whole["model"].update(options)

    for what, edit in {
        "without entries": model(vocab={}, merges=[]),
        "with ids of text": model(vocab={"a": "b"}),
        "with negative ids": model(vocab={"a": -1}),
        "with merges of nothing": model(merges=[["zz", "qq"]]),
        "with merges that are numbers": model(merges=[1, 2]),
        "of another kind": model(type="WordPiece"),
        "of an unknown kind": model(type="Nonsense"),
        "without a model": lambda whole: whole.pop("model") and None,
        "with a decoder that is none": lambda whole: whole.update(decoder={"type": "X"}),
        "with a pattern that is none": lambda whole: whole.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated"}
        ),
        "with added tokens of numbers": lambda whole: whole.update(added_tokens=[1]),
    }.items():
        yield f"tokenizer {what}", Case(edited(TOKENIZER, edit))
    yield (
        "tokenizer with ids beyond the model",
        Case(
            edited(TOKENIZER, lambda whole: whole["model"]["vocab"].update({"zz": 70_000})),
            "beyond the",
        ),
    )
    for key, raw, harmless in (
        ("tokenizer_class", '"NoSuchTokenizer"', True),
        ("tokenizer_class", "5", False),
        ("tokenizer_class", '"BertTokenizer"', True),
        ("eos_token", "5", False),
        ("eos_token", "null", False),
        ("eos_token", '"<|nowhere|>"', False),
        ("eos_token", "{}", False),
        ("added_tokens_decoder", '{"x": 5}', False),
        ("added_tokens_decoder", "5", False),
        ("model_max_length", '"x"', False),
        ("model_max_length", "-5", True),
        ("extra_special_tokens", "5", True),
    ):
        yield f"{key} {raw}", Case(field(TOKENS, key, raw), "", harmless)
    for what, content in {
        "empty": "",
        "deep": '{"a":' * DEEP,
        "a list": "[]",
        "cut": '{"a',
    }.items():
        yield f"tokenizer config {what}", Case(text(TOKENS, content), "tokenizer_config.json")


TEMPLATES = {
    "with a syntax error": ("{% for m in messages %}", "cannot be rendered"),
    "with an unknown tag": ("{% nonsense %}", "cannot be rendered"),
    "with an unknown filter": ("{{ messages | nonsense }}", "cannot be rendered"),
    "with an undefined name": ("{{ nothing.of.it }}", "cannot be rendered"),
    "that refuses": ("{{ raise_exception('not with me') }}", "not with me"),
    "without end": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "longer than a few seconds",
    ),
    "of many letters": (
        "{% for i in range(9999) %}{% for j in range(9999) %}xxxxxx{% endfor %}{% endfor %}",
        "more than 16,777,216 letters",
    ),
    "of ten gigabytes": ("{{ 'x' * 10000000000 }}", "bytes of memory"),
    "of a long number": ("{{ 9 ** (9 ** 9) }}", "longer than a few seconds"),
    "that doubles": (
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}{{ n.x }}",
        "bytes of memory",
    ),
    "that calls itself": ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "cannot be rendered"),
    "that divides by nothing": ("{{ 1 / 0 }}", "cannot be rendered"),
    "that reaches for Python": (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "cannot be rendered",
    ),
    "that includes a file": ("{% include '/etc/passwd' %}", "cannot be rendered"),
    "that says nothing": ("{# #}", "does not write what the assistant"),
    "of no letter": ("", "chat_template.jinja is empty"),
    "without the answer": ("{{ messages[0]['content'] }}", "does not write what the assistant"),
    "that calls a text": ("{{ messages[0]['content']() }}", "cannot be rendered"),
}
"""Chat templates that cannot be used, and what is said of them."""


def of_templates() -> Iterator[tuple[str, Case]]:
    for what, (content, told) in TEMPLATES.items():
        yield f"template {what}", Case(text(TEMPLATE, content), told)
    yield "template no letter", Case(text(TEMPLATE, b"\xff\xfe{{"), "")
    yield "template a pipe", Case(at(TEMPLATE, os.mkfifo), "chat_template.jinja")
    yield "template enormous", Case(text(TEMPLATE, "x" * 2**21), "chat_template.jinja has")
    for raw in ("5", "[]", '[{"name": "tool", "template": "x"}]', '{"a": 5}'):

        def change(folder: Path, raw: str = raw) -> None:
            (folder / TEMPLATE).unlink()
            field(TOKENS, "chat_template", raw)(folder)

        yield f"template {raw} in the tokenizer config", Case(change, "", True)


def at_random(seeds: int) -> Iterator[tuple[str, Case]]:
    """Cut files anywhere, and change a few bytes of them."""
    for name in (CONFIG, TOKENIZER, TOKENS, WEIGHTS):
        for seed in range(seeds):
            yield (
                f"{name} cut at random {seed}",
                Case(lambda folder, name=name, seed=seed: cut_at_random(folder, name, seed)),
            )
            yield (
                f"{name} spoilt at random {seed}",
                Case(lambda folder, name=name, seed=seed: spoil(folder, name, seed), "", True),
            )


def bad_models(seeds: int = 2) -> dict[str, Case]:
    """Every case by its name."""
    return dict(
        [
            *of_weights(),
            *of_configuration(),
            *of_tokenizer(),
            *of_templates(),
            *at_random(seeds),
        ]
    )


def drawn(cases: dict[str, Case], count: int, seed: int = 0) -> list[str]:
    """The names of some cases, the same ones for a seed."""
    return random.Random(seed).sample(list(cases), count)
