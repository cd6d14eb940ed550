"""LoRA (Hu et al. 2021, arXiv 2106.09685): W + (α/r)·B·A, of which only A and B are trained.

QLoRA (Dettmers et al. 2023, arXiv 2305.14314) is the same over Ŵ, W as 4 bits hold it.

peft puts the matrices into a model in place, whose class stays what it is: whoever asks it for the
parameters that train gets A (r, in) and B (out, r) of every layer alone. B is zero at first, so the
model is the target until the first step; without its adapter it stays the target for ever. The
merged model is Ŵ + (α/r)·B·A, what was trained: A and B also undo what 4 bits changed, and added to
W they would be another model.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.device import resolve_device
from unlearn.compute.model import LanguageModel
from unlearn.compute.sharding import put_, state_of
from unlearn.compute.undisturbed import generators_kept
from unlearn.errors import ConfigurationError, UnlearnError, said_by, to_install, translating
from unlearn.models.adapter import is_adapter, quiet
from unlearn.models.four_bits import packed_, packing_problems, require_linear_layers
from unlearn.models.load import configuration_of
from unlearn.models.places import is_folder_name
from unlearn.models.streaming import lacks_room, stream_
from unlearn.models.tiny import tiny_shape
from unlearn.options.schema import AdapterConfig, ModelConfig

log = logging.getLogger(__name__)

FOLDER, WEIGHTS = "adapter", "adapter_model.safetensors"
NAME = "default"
"""What peft calls the one adapter of a model."""


class Adapter:
    """The adapter of a model: what is trained, kept, and merged at the end."""

    def __init__(
        self,
        model: LanguageModel,
        options: AdapterConfig,
        seed: int,
        base: str | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Put it into `model`; A is drawn by `seed`. `base` names the model in what is saved.

        What is kept in 4 bits is packed on `device`, to which the caller moves the rest; None =
        where the model is. Raises ConfigurationError where the model has no such layers.
        """
        self.model, self.options = model, options
        with generators_kept():
            torch.manual_seed(seed)
            self.peft, self.layers = injected(model, options)
        every = sum(parameter.numel() for parameter in model.parameters())
        count = sum(parameter.numel() for parameter in self.parameters())
        self.packed = packed_(model, device or model.device) if options.in_4_bits else []
        self.record = copy.copy(self.peft.peft_config[NAME])
        self.record.base_model_name_or_path = base
        self.record.inference_mode = True  # as peft writes it: who loads it trains it on request
        self._merged: dict[str, Tensor] = {}
        self.base = WithoutAdapter(model, self.switched_off)
        """The model without its adapter, the frozen target: no weight of it is kept twice."""
        log.info(
            "LoRA: rank %d on %d layers; %s numbers are trained, %.2g %% of the model's %s",
            *(options.rank, len(self.layers), f"{count:,}"),
            *(100 * count / (every - count), f"{every - count:,}"),
        )
        if self.packed:
            log.info(
                "QLoRA: %d linear layers, %.1f %% of the model's weights, are kept in 4 bits",
                len(self.packed),
                100 * sum(one.weights for one in self.packed) / (every - count),
            )

    @property
    def weights(self) -> dict[str, Parameter]:
        """Every A and B by peft's name, as the model has them; none once they are merged."""
        named = self.model.named_parameters()
        return {_in_peft(name): p for name, p in named if ".lora_" in name}

    def parameters(self) -> Iterator[Parameter]:
        """Yield every A and B."""
        yield from self.weights.values()

    def state_dict(self, *, keep_vars: bool = False) -> dict[str, Tensor]:
        """Return every A and B, or what they were when they were merged."""
        every = self._merged or {**self.weights}
        return every if keep_vars else {name: weight.detach() for name, weight in every.items()}

    def save_pretrained(self, folder: Path, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Write A and B as peft does (safetensors), with the record that peft reads them by."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        every = self.state_dict() if state_dict is None else state_dict
        tensors = {name: weight.detach().contiguous() for name, weight in every.items()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        self.record.save_pretrained(str(folder))

    def save_beside(self, folder: Path) -> None:
        """Write the adapter into the folder of the merged model."""
        self.save_pretrained(folder / FOLDER)
        if self.options.in_4_bits:
            log.info(
                "QLoRA: model/%s is exact on its base in 4 bits (NF4, double quantization); merged "
                "into the original weights it is near to model/ only",
                FOLDER,
            )

    @torch.no_grad()
    def take(self, folder: Path) -> None:
        """Take over A and B that :meth:`save_pretrained` wrote, bit by bit.

        Raises UnlearnError where they are those of another adapter.
        """
        from safetensors.torch import load_file

        saved = load_file(folder / WEIGHTS)
        shapes = {name: weight.shape for name, weight in self.weights.items()}
        if shapes != {name: weight.shape for name, weight in saved.items()}:
            raise UnlearnError("the saved adapter belongs to another model than that of this run")
        for name, weight in self.weights.items():
            put_(weight, saved[name])

    def merge(self) -> None:
        """Add (α/r)·B·A to every W in place and take A and B out of the model.

        It is then a model as any other, every weight of which may be trained. Of a sharded one
        every process is to call it.
        """
        self._merged = state_of(self)
        with quiet():
            if self.packed:
                self._merge_unpacked()
                self.peft.unload()
            else:
                self.peft.merge_and_unload()
        self.model.requires_grad_(True)  # peft froze the base
        log.info("LoRA: merged into %d layers", len(self.layers))

    def _merge_unpacked(self) -> None:
        """Merge into layers that are dense again, one after the other.

        A device that has no room for all of them keeps none: they wait on the CPU.
        """
        device = self.packed[0].layer.packed.device
        missing = sum(one.weights * one.layer.dtype.itemsize for one in self.packed)
        streams = lacks_room(missing, device)
        adapted = {id(layer) for layer in self.layers}
        for one in self.packed:
            dense = one.unpack()
            if id(one.parent) in adapted:
                one.parent.merge()
            if streams:
                stream_(dense)
        self.packed = []
        for layer in self.layers:  # such as those whose weights several layers share
            if not layer.merged:
                layer.merge()

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Let the model compute without the adapter for a while.

        peft's own `enable_adapters` would also let A and B have no gradient for that while: a
        sharded model that is gathered for the first time then would give them none ever after.
        """
        for layer in self.layers:
            layer._disable_adapters = True
        try:
            yield
        finally:
            for layer in self.layers:
                layer._disable_adapters = False


class WithoutAdapter:
    """A model, or a part of one, whose calls leave its adapter out; all else is the model's own."""

    def __init__(self, part: Any, switched_off: Callable[[], AbstractContextManager[None]]) -> None:
        self._part, self._switched_off = part, switched_off

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        with self._switched_off():
            return self._part(*inputs, **named)

    def generate(self, *inputs: Any, **named: Any) -> Any:
        """Generate as the model does without its adapter."""
        with self._switched_off():
            return self._part.generate(*inputs, **named)

    @property
    def base_model(self) -> WithoutAdapter:
        """The model below its output layer, without the adapter too."""
        return WithoutAdapter(self._part.base_model, self._switched_off)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def adapter_of(
    config: ModelConfig, model: LanguageModel, seed: int, folder: str, device: torch.device
) -> Adapter | None:
    """Return the adapter that the configuration asks for, put into the model from `folder`.

    The model is on the CPU, from where the caller moves it to `device`.
    """
    if config.adapter is None:
        return None
    base = str(Path(folder).expanduser().resolve()) if is_folder_name(folder) else folder
    return Adapter(model, config.adapter, seed, base, device)


def adapter_problems_of(config: ModelConfig) -> list[str]:
    """Return why the model cannot have the adapter that is asked for, before its weights load.

    The model is built without memory (torch's device `meta`), from its configuration alone.
    """
    from transformers import AutoModelForCausalLM

    options, path = config.adapter, config.path
    if options is None:
        return []
    if find_spec("peft") is None:
        extra = "qlora" if options.in_4_bits else "lora"
        return [f"model.adapter: LoRA needs peft: {to_install(extra)}"]
    problems = packing_problems(resolve_device(config.device)[0]) if options.in_4_bits else []
    if options.save and path is not None and (is_adapter(path) or config.gguf_file):
        kind = "a GGUF file" if config.gguf_file else "a LoRA folder"
        problems.append(
            f"model.adapter.save: true, but model.path={path!r} is {kind}, so the base of the new "
            "adapter lies nowhere that it could be loaded from; leave it out: model/ is merged"
        )
    try:
        shape = tiny_shape(config.tiny) if path is None else configuration_of(config, path)
    except ConfigurationError:
        return problems  # such as of a hub that does not answer: loading it tells
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(shape, trust_remote_code=False)
        except Exception:  # what cannot be built is told where it is loaded
            return problems
        try:
            injected(model, options)
            if options.in_4_bits:
                require_linear_layers(model)
        except ConfigurationError as error:
            problems += error.problems
    return problems


def injected(model: LanguageModel, options: AdapterConfig) -> tuple[Any, list[Any]]:
    """Put an adapter into a model, in place; returns peft's view of it and the layers with one.

    Raises ConfigurationError where it finds no layer, or one whose weights another layer shares.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    asked = options.target_modules
    inside: Any = model  # a module of torch, which is all that peft asks for
    field = f"model.adapter.target_modules: {asked if isinstance(asked, str) else list(asked)}"

    def told(error: BaseException) -> ConfigurationError:
        return ConfigurationError(
            f"{field}: a {type(model).__name__} cannot have this adapter: {said_by(error)}"
        )

    counts: dict[int, int] = {}
    for _, weight in inside.named_parameters(remove_duplicate=False):
        counts[id(weight)] = counts.get(id(weight), 0) + 1
    with translating(told), quiet():
        config = LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=0.0,
            target_modules=asked if isinstance(asked, str) else list(asked),
            task_type="CAUSAL_LM",
        )
        adapted = get_peft_model(inside, config, adapter_name=NAME)
    named = {n: part for n, part in model.named_modules() if isinstance(part, BaseTunerLayer)}
    for name, layer in named.items():
        layer.eval()  # peft makes layers in training mode
        own = layer.get_base_layer().parameters(recurse=False)
        if any(counts.get(id(weight), 1) > 1 for weight in own):
            raise ConfigurationError(
                f"{field}: the weights of {name} are another layer's too (tied), which merging "
                "would change with them; leave it out"
            )
    return adapted, list(named.values())


def _in_peft(name: str) -> str:
    """Return what peft calls a weight of an adapter in a file."""
    return "base_model.model." + "".join(name.rsplit(f".{NAME}", 1))
