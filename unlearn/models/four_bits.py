"""Frozen linear layers whose weights are kept in 4 bits: the base of QLoRA.

Dettmers et al. 2023 (arXiv 2305.14314): each weight is the nearest of 16 values (NF4) times the
scale of its block of 64; the scales less their mean are kept in 8 bits, blocks of 256 with a
float32 each (double quantization): 4 + 8/64 + 32/(64·256) = 4.127 bits a weight.

bitsandbytes packs and unpacks; the layer is ours. Its own repacks its weights for some CPUs in
evaluation mode, in which every model here is trained, and its product of a single row comes from
another kernel than that of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.compute.memory import explaining_memory
from unlearn.compute.model import LanguageModel
from unlearn.errors import ConfigurationError, UnlearnError, said_by, to_install, translating
from unlearn.options.schema import Quantize

FIELD = f"model.adapter.quantize: {Quantize.nf4.value}"
DEVICES = ("cpu", "cuda")
"""Where bitsandbytes packs and unpacks, and this was tried."""
BLOCK, SCALES = 64, 256
"""Weights that share a scale, and scales that share one."""


class Linear4bit(nn.Module):
    """y = Ŵx + b of a frozen linear layer, Ŵ the weights as 4 bits hold them.

    Ŵ is unpacked at every pass, in the precision of the computation, and once more on the way back:
    nothing of its size is kept for that. The layer is left without weights of its own.
    """

    packed: Tensor
    scales: Tensor
    scales_of_scales: Tensor
    mean: Tensor
    values: Tensor
    values_of_scales: Tensor

    def __init__(self, layer: Any, device: torch.device) -> None:
        super().__init__()
        self.transposed = is_transposed(layer)
        weight = layer.weight.detach()
        self.dtype = weight.dtype
        self.out_features, self.in_features = weight.T.shape if self.transposed else weight.shape
        for name, tensor in self.pack(weight.T if self.transposed else weight, device).items():
            self.register_buffer(name, tensor, persistent=False)
        self.bias = layer.bias
        layer.weight = nn.Parameter(weight.new_empty(0), requires_grad=False)
        vars(self)["layer"] = layer  # no part of this module: it comes back where it is dense again

    def pack(self, weight: Tensor, device: torch.device) -> dict[str, Tensor]:
        """Return what 4 bits hold of a weight (out, in), on the device."""
        from bitsandbytes.functional import quantize_4bit

        with _translated(device):
            packed, state = quantize_4bit(
                weight.to(device).contiguous(),
                blocksize=BLOCK,
                compress_statistics=True,
                quant_type=Quantize.nf4.value,
            )
        return {
            "packed": packed,
            "scales": state.absmax,
            "scales_of_scales": state.state2.absmax,
            "mean": state.offset,
            "values": state.code,
            "values_of_scales": state.state2.code,
        }

    def unpack(self, dtype: torch.dtype) -> Tensor:
        """Return Ŵ (out, in)."""
        from bitsandbytes.functional import QuantState, dequantize_4bit

        scales = QuantState(
            absmax=self.scales_of_scales,
            code=self.values_of_scales,
            blocksize=SCALES,
            dtype=torch.float32,
        )
        state = QuantState(
            absmax=self.scales,
            shape=torch.Size((self.out_features, self.in_features)),
            code=self.values,
            blocksize=BLOCK,
            quant_type=Quantize.nf4.value,
            dtype=dtype,
            offset=self.mean,
            state2=scales,
        )
        unpacked: Tensor = dequantize_4bit(self.packed, state)
        return unpacked

    @property
    def weight(self) -> Tensor:
        """Ŵ as the layer had its weights, for architectures that read them past the layer."""
        weight = self.unpack(self.dtype)
        return weight.T if self.transposed else weight

    def forward(self, x: Tensor) -> Tensor:
        """Compute in the precision of autocast, or in that of `x` (…, in)."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        product: Tensor = _Product.apply(x.to(dtype), self, bias)
        return product

    def dense(self) -> Any:
        """Return the layer that this was made of, whose weights now are Ŵ."""
        layer: Any = self.layer
        layer.weight = nn.Parameter(self.weight.contiguous(), requires_grad=False)
        return layer

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class _Product(torch.autograd.Function):
    """y = Ŵx + b, of which x alone has a gradient: ∂L/∂x = Ŵᵀ ∂L/∂y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Linear4bit, bias: Tensor | None) -> Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, layer.unpack(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.unpack(gradient.dtype), None, None


@dataclass
class Packed:
    """A layer of a model that is kept in 4 bits, and where it stands."""

    parent: Any
    """The module that has it, peft's layer where that has an adapter."""
    name: str
    layer: Linear4bit

    @property
    def weights(self) -> int:
        """How many weights it stands for."""
        return self.layer.in_features * self.layer.out_features

    def unpack(self) -> Any:
        """Put the dense layer back into the model, with the weights that 4 bits hold; return it."""
        dense = self.layer.dense()
        setattr(self.parent, self.name, dense)
        return dense


def packed_(
    model: LanguageModel,
    device: torch.device,
    make: Callable[[Any, torch.device], Linear4bit] = Linear4bit,
) -> list[Packed]:
    """Keep the linear layers of a model in 4 bits on a device, one after the other, in place.

    Raises ConfigurationError where it has none.
    """
    require_linear_layers(model)
    made = []
    for parent, name, layer in list(linear_layers(model)):
        packed = make(layer, device).eval()
        setattr(parent, name, packed)
        made.append(Packed(parent, name, packed))
    return made


def require_linear_layers(model: LanguageModel) -> None:
    """Raise ConfigurationError where a model has nothing that could be kept in 4 bits."""
    if next(linear_layers(model), None) is None:
        raise ConfigurationError(
            f"{FIELD}: a {type(model).__name__} has no linear layer below its output layer that "
            "could be kept in 4 bits; use model/adapter=lora"
        )


def rounded_(model: LanguageModel, device: torch.device) -> None:
    """Round the linear layers of a model to what 4 bits hold of them, in place; it stays dense.

    Raises ConfigurationError where that cannot be done here.
    """
    if problems := packing_problems(device):
        raise ConfigurationError(problems)
    for parent, name, layer in list(linear_layers(model)):
        where = layer.weight.device
        Packed(parent, name, Linear4bit(layer, device)).unpack().to(where)


def weights_in(model: LanguageModel) -> int:
    """Return how many weights a model has, those in 4 bits among them."""
    packed = [one for one in model.modules() if isinstance(one, Linear4bit)]
    dense = sum(weight.numel() for weight in model.parameters())
    return dense + sum(one.in_features * one.out_features for one in packed)


def linear_layers(model: LanguageModel) -> Iterator[tuple[nn.Module, str, Any]]:
    """Yield what is kept in 4 bits, by its parent and name there.

    The output layer stays as it is, as do an adapter's matrices, weights that several layers share,
    layers of fewer weights than a block, and those that compute something else than y = Wx + b.
    """
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    stays = {id(output), id(getattr(output, "base_layer", None))}
    inside: Any = model
    shared: dict[int, int] = {}
    for _, one in inside.named_parameters(remove_duplicate=False):
        shared[id(one)] = shared.get(id(one), 0) + 1
    for path, part in list(model.named_modules()):
        if not isinstance(part, (nn.Linear, Conv1D)) or id(part) in stays or ".lora_" in path:
            continue
        weight: Any = part.weight
        if shared[id(weight)] == 1 and weight.numel() >= BLOCK and _is_plain(part):
            parent, _, name = path.rpartition(".")
            yield model.get_submodule(parent), name, part


def packing_problems(device: torch.device) -> list[str]:
    """Return why nothing could be kept in 4 bits here, before anything loads."""
    if find_spec("bitsandbytes") is None:
        return [f"{FIELD} needs bitsandbytes: {to_install('qlora')}"]
    if device.type not in DEVICES:
        return [
            f"{FIELD}: bitsandbytes packs on {' and '.join(DEVICES)}, and the model is on the "
            f"device {device.type}; use model/adapter=lora with model.dtype=bfloat16"
        ]
    return []


@torch.no_grad()
def _is_plain(layer: Any) -> bool:
    """Return whether a layer of a class of its own computes y = Wx + b all the same."""
    weight, bias = layer.weight, layer.bias
    if type(layer).forward is nn.Linear.forward or weight.is_meta:
        return True
    weight = weight.T if is_transposed(layer) else weight
    x = torch.linspace(-1, 1, weight.shape[1], dtype=weight.dtype, device=weight.device)[None]
    expected = nn.functional.linear(x, weight, bias).float()
    return bool((layer(x).float() - expected).norm() <= 0.02 * expected.norm())


def is_transposed(layer: Any) -> bool:
    """Return whether a layer holds W as (in, out): transformers' Conv1D, of GPT-2."""
    return not isinstance(layer, nn.Linear)


@contextmanager
def _translated(device: torch.device) -> Iterator[None]:
    """Say in our words that bitsandbytes does not work, such as for a CUDA that it lacks."""

    def told(error: BaseException) -> UnlearnError:
        return ConfigurationError(
            f"{FIELD}: bitsandbytes cannot pack on the device {device.type} ({said_by(error)}); "
            "get the version for this CUDA, or use model/adapter=lora with model.dtype=bfloat16"
        )

    less = "take a smaller model, or a device with more memory"
    with translating(told), explaining_memory(f"{FIELD}: the model does not fit {device}", less):
        yield
