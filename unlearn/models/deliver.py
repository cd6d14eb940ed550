"""The unlearned model on disk: in the form of the checkpoint it came from, and as it was measured.

Weights are trained in float32 and saved in the checkpoint's own precision, so they are rounded to
it before the last evaluation: what is scored as `after` is what is saved, bit for bit.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.memory import explaining_memory
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import is_main, total
from unlearn.compute.sharding import is_sharded_model, local, state_of
from unlearn.errors import NumericalError, UnlearnError, lacks_memory
from unlearn.models.adapter import base_of
from unlearn.models.load import (
    SMALLER,
    configuration_of,
    files_of,
    padding_within,
    tokenizer_source,
)
from unlearn.options.schema import ModelConfig
from unlearn.storage.files import whole_folder, write_json_atomic
from unlearn.storage.sealed import SUMS

log = logging.getLogger(__name__)

WEIGHTS = {".safetensors", ".bin", ".gguf", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx"}
"""Endings of weights, which are never copied."""
OURS = {"config.json", "preparation.json", "progress.json", SUMS, "adapter_config.json"}
"""Small files that are written anew, or say what the unlearned model no longer is."""
TOKENIZER = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "chat_template")
"""What the names of a tokenizer's files begin with."""
SMALL = 64 * 2**20
"""Bytes: a larger file is no configuration, tokenizer or licence."""


@dataclass(frozen=True)
class Form:
    """How a checkpoint lies on disk."""

    dtype: torch.dtype
    why: str
    folder: Path | None = None
    """Its files, where they are here; None for the tiny model."""
    own_tokenizer: bool = False
    """Whether the run's tokenizer is the one in `folder`."""

    @property
    def shard_bytes(self) -> int | None:
        """Most bytes of a file of weights, as in the folder; None where it has no safetensors."""
        sizes = [path.stat().st_size for path in (self.folder or Path()).glob("*.safetensors")]
        if self.folder is None or not sizes:
            return None
        return max(sizes) if len(sizes) > 1 else 2**62


def form_of(config: ModelConfig) -> Form:
    """Return the form that the unlearned model is saved in, and whose precision it is."""
    dtype, why, folder, own_tokenizer = torch.float32, "the tiny model's own", None, False
    if config.path is not None:
        own = configuration_of(config, config.path).dtype
        folder = files_of(config, config.path)
        dtype, why = own or torch.float32, "the checkpoint's own" if own else "it names none"
        of_base = tokenizer_source(config, config.path) == base_of(config.path, config.base)
        own_tokenizer = of_base and folder is not None and any(_tokenizer(folder))
    if config.save_dtype is not None:
        dtype, why = getattr(torch, config.save_dtype.value), f"{config.save_dtype.value} asked for"
    return Form(dtype, why, folder, own_tokenizer)


@torch.no_grad()
def round_weights(model: LanguageModel, form: Form) -> float:
    """Round every weight in place to what the saved form holds; returns the share that moved.

    Raises NumericalError where a weight is too large for it.
    """
    moved = count = 0
    for name, parameter in model.named_parameters():
        weight = local(parameter.detach())
        rounded = weight.to(form.dtype).to(weight.dtype)
        if not torch.isfinite(rounded).all():
            raise NumericalError(
                f"model.save_dtype: {name} holds a weight that {_word(form.dtype)} cannot; give "
                "model.save_dtype=float32 or bfloat16"
            )
        moved += int((rounded != weight).sum())
        count += weight.numel()
        weight.copy_(rounded)
    if is_sharded_model(model):
        moved, count = total(moved, count)
    share = moved / count
    if moved:
        log.info(
            "model.save_dtype: %s (%s); %.1f %% of the weights were rounded to it, so that what is "
            "measured as after is what is saved",
            _word(form.dtype),
            form.why,
            100 * share,
        )
    return share


def save_unlearned(
    model: LanguageModel,
    tokenizer: Any,
    folder: Path,
    form: Form,
    besides: Callable[[Path], object] | None = None,
) -> None:
    """Write the model as its checkpoint lay: precision, size of files, configuration, tokenizer,
    and what else stood there; whole, and read back before it takes its name. `besides` writes more
    into the same folder.

    Raises UnlearnError where it would load otherwise than it was measured; nothing is left then.
    Of several processes all call it, and rank 0 writes.
    """
    state = state_of(model)
    if not is_main():
        return
    with whole_folder(folder) as unfinished:
        shards = {"max_shard_size": form.shard_bytes} if form.shard_bytes else {}
        model.save_pretrained(unfinished, state_dict=_cast(state, form.dtype), **shards)
        _write_configuration(unfinished, form)
        if not form.own_tokenizer:
            tokenizer.save_pretrained(unfinished)
        for path in _beside(form):
            shutil.copyfile(path, unfinished / path.name)
        if besides is not None:
            besides(unfinished)
        with explaining_memory("saving the unlearned model, which is read back once", SMALLER):
            require_same(type(model), state, unfinished, form.dtype)


def require_same(
    kind: type[LanguageModel], state: Mapping[str, Tensor], folder: Path, dtype: torch.dtype
) -> None:
    """Raise UnlearnError unless the saved model has every tensor of a state, in `dtype`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        saved = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **padding_within(AutoConfig.from_pretrained(folder, trust_remote_code=False)),
        )
        found: Mapping[str, Tensor] = saved.state_dict()
        unlike = [
            name
            for name, ours in state.items()
            if not _same(ours.detach(), found.get(name), exactly=isinstance(ours, Parameter))
        ]
        total, said = len(found), ""
    except (OSError, ValueError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        unlike, total, said = ["all"], 0, f" ({error})"
    if unlike:
        raise UnlearnError(
            f"the unlearned model was not saved: read back, {len(unlike)} of {total} tensors are "
            f"not those that were measured, such as {unlike[0]!r}{said}; transformers' "
            f"save_pretrained does not keep a {kind.__name__} whole"
        )


def _same(ours: Tensor, theirs: Tensor | None, exactly: bool) -> bool:
    """Return whether a tensor is what was saved; a buffer may have been rounded on loading."""
    if theirs is None or theirs.shape != ours.shape:
        return False
    ours = ours.cpu()
    if exactly:
        return torch.equal(ours, theirs.to(ours.dtype))
    return torch.equal(ours.to(theirs.dtype), theirs)


def _cast(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the state with its weights in `dtype`; tied weights stay one tensor."""
    weights = {id(p): p for p in state.values() if isinstance(p, Parameter)}
    cast = {key: p.detach().to(dtype) for key, p in weights.items() if p.is_floating_point()}
    return {name: cast.get(id(value), value.detach()) for name, value in state.items()}


def _write_configuration(folder: Path, form: Form) -> None:
    """Give the saved folder the checkpoint's own configuration, with the precision that it has.

    transformers writes its present names of options, which other programs may not know yet. Where
    another class was loaded than the checkpoint names, what transformers wrote stays.
    """
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    file = form.folder / "config.json" if form.folder is not None else None
    if file is not None and file.is_file():
        given = json.loads(file.read_text(encoding="utf-8"))
        same = all(given.get(key) == written.get(key) for key in ("architectures", "model_type"))
        if same and "quantization_config" not in given:  # a GGUF file may lie beside one
            written = given
    for part in [written, *(value for value in written.values() if isinstance(value, dict))]:
        for key in ("dtype", "torch_dtype"):
            if key in part:
                part[key] = _word(form.dtype)
    if "torch_dtype" not in written:
        written["dtype"] = _word(form.dtype)
    write_json_atomic(folder / "config.json", written)


def _beside(form: Form) -> Iterator[Path]:
    """Yield the small files of the checkpoint that the unlearned model keeps as they are."""
    if form.folder is None:
        return
    tokenizers = set(_tokenizer(form.folder))
    for path in sorted(form.folder.iterdir()):
        ours = path.name in OURS or path.name.endswith(".index.json") or path.name.startswith(".")
        if ours or path.suffix in WEIGHTS or not path.is_file() or path.stat().st_size > SMALL:
            continue
        if form.own_tokenizer or path not in tokenizers:
            yield path


def _tokenizer(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder's tokenizer."""
    for path in folder.iterdir():
        if path.name.startswith(TOKENIZER) or path.suffix in (".model", ".tiktoken"):
            yield path


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
