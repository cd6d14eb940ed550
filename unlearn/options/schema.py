"""The typed configuration: what can be set, its default, its unit and its range.

Imported by every command, `--help` and tab completion included, so nothing heavy is imported here.
The parts that a configuration names by `_target_` (readers, objectives, weightings, schedulers)
are dataclasses of their own rooms: their fields are their options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from unlearn.data.turns import parse_date
from unlearn.options.ranges import above_zero, allowed, at_least, below_one, refuse, seed, share


class Dtype(Enum):
    """Precision of the weights that are trained and saved."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Autocast(Enum):
    """Precision of the computation."""

    auto = "auto"
    bfloat16 = "bfloat16"
    none = "none"


class Attention(Enum):
    """Attention implementation of transformers."""

    sdpa = "sdpa"
    eager = "eager"
    flash_attention_2 = "flash_attention_2"


class EvaluationUnit(Enum):
    """What `evaluation.every` counts."""

    steps = "steps"
    epochs = "epochs"


class EvaluationMode(Enum):
    """Which end of `evaluation.best` is the best."""

    min = "min"
    max = "max"


class Words(Enum):
    """What ROUGE takes for a word."""

    auto = "auto"
    tofu = "tofu"
    unicode = "unicode"


class Template(Enum):
    """How a question becomes a prompt."""

    auto = "auto"
    chat = "chat"
    plain = "plain"


@dataclass
class TinyConfig:
    """Shape of the embedded model, a Llama; used where `model.path` is null."""

    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    intermediate_size: int = 384
    vocabulary: int = 2048
    """Most entries of the byte-pair tokenizer, the 256 bytes included."""
    seed: int = 0
    """Seed of the initial weights."""

    def __post_init__(self) -> None:
        refuse(
            seed("seed", self.seed),
            at_least("hidden_size", self.hidden_size, 1),
            at_least("layers", self.layers, 1),
            at_least("heads", self.heads, 1),
            at_least("intermediate_size", self.intermediate_size, 1),
            at_least("vocabulary", self.vocabulary, 300, " (256 are the bytes)"),
            None
            if self.heads < 1 or self.hidden_size % (2 * self.heads) == 0
            else f"heads: {self.heads} heads do not divide model.tiny.hidden_size="
            f"{self.hidden_size} into heads of an even size",
        )


@dataclass
class FineTuningConfig:
    """How a model that does not know the data yet learns it: the recipe of target and reference."""

    lr: float = 1e-5
    """Peak learning rate of AdamW; linear warm-up, then half a cosine to a twentieth."""
    epochs: int = 5
    """Most passes over the rows."""
    batch_size: int = 32
    """Rows a step."""
    micro_batch_size: int | None = None
    """Rows a forward pass; null = `batch_size`."""
    weight_decay: float = 0.0
    warmup: float = 0.05
    """Share of the steps."""
    accuracy: float = 0.999
    """Stop once this share of answer tokens of an epoch was predicted."""
    floor: float = 0.95
    """A target that predicts less than this share of its answer tokens is reported as weak."""
    seed: int = 0
    """Order of the rows. Independent of `seed`: runs that differ in their seed share one target."""

    def __post_init__(self) -> None:
        refuse(
            seed("seed", self.seed),
            above_zero("lr", self.lr),
            above_zero("epochs", self.epochs),
            above_zero("batch_size", self.batch_size),
            above_zero("micro_batch_size", self.micro_batch_size),
            share("accuracy", self.accuracy),
            share("floor", self.floor),
            below_one("warmup", self.warmup),
        )


@dataclass
class ModelConfig:
    """Which model, in which precision, on which device."""

    path: str | None = None
    """Hub id or folder of a causal language model; null = the embedded tiny model."""
    tokenizer: str | None = None
    """Hub id or folder of the tokenizer; null = `path`."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: Dtype = Dtype.float32
    """Weights that are trained. bfloat16 loses most updates of a small learning rate."""
    autocast: Autocast = Autocast.auto
    """auto = bfloat16 where the device computes it natively."""
    attention: Attention = Attention.sdpa
    gguf_file: str | None = None
    """Name of a GGUF file inside `path`."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    template: Template = Template.auto
    """auto = the tokenizer's chat template where it has one, else `Question: …\\nAnswer:`."""
    system_prompt: str | None = None
    """System turn of a chat template; null = none of ours (some templates put in their own)."""
    chat_date: str = "26 Jul 2024"
    """The day, like 26 Jul 2024, that a chat template takes for today; results must not depend on
    the day of a run."""
    chat_options: dict[str, Any] = field(default_factory=dict)
    """Variables of the chat template, such as `{enable_thinking: false}`."""
    max_length: int = 512
    """Most tokens of prompt and answer, at most the model's own positions; longer answers are cut,
    which is said, and texts become windows."""
    published_reference: dict[str, str] = field(default_factory=dict)
    """Retain-only models that others have published, by the data's subset name."""
    tiny: TinyConfig = field(default_factory=TinyConfig)
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)

    def __post_init__(self) -> None:
        refuse(
            "dtype: bfloat16 weights lose most updates of a small learning rate to rounding; use "
            "model.dtype=float32 with model.autocast=bfloat16, which computes in bfloat16 and "
            "keeps float32 masters"
            if self.dtype is Dtype.bfloat16
            else None,
            at_least("max_length", self.max_length, 8, " tokens"),
            allowed(
                parse_date(self.chat_date) is not None,
                "chat_date",
                self.chat_date,
                "a day like 26 Jul 2024 or 2024-07-26",
            ),
        )


@dataclass
class TrainingConfig:
    """The unlearning loop."""

    steps: int | None = None
    """Optimizer steps; null = `epochs`, and where that is null too, 150 steps or 6 passes over
    the retain set, whichever is more: forgetting takes steps, mending the rest takes passes."""
    epochs: float | None = None
    """Passes over the forget set; used where `steps` is null."""
    batch_size: int = 16
    """Rows a task and step: so many forget rows and so many retain rows."""
    micro_batch_size: int | None = None
    """Rows a forward pass; null = `batch_size`. Changes memory, not results."""
    clip: float | None = None
    """Largest norm of the combined direction; null = no clipping. NGDiff's norm lies in [0, 2], so
    1.0 would clip most of its steps."""
    checkpoint_every: int = 50
    """Steps between saved states, of which the newest is kept until the run completes: the same
    command with the same `hydra.run.dir` goes on from it. 0 = none by steps."""
    checkpoint_minutes: float | None = 10.0
    """Save one also where the last is so many minutes old; null = by steps only."""
    keep_checkpoints: bool = False
    """Leave `checkpoints/` in place at the end."""
    diagnose_every: int = 10
    """Steps between those at which a method with fixed weights takes its two gradients apart, for
    norms, cosine and interval in the record: one gradient more in memory; 0 = never. Every other
    weighting knows both gradients at every step."""
    until: Any = None
    """Stop early, once the mean NLL of the forget rows has reached a level: `reference` (theirs
    under the retain-only model), `holdout` (that of the holdout rows under the target), or a number
    in nats a token; null = take every step."""
    until_every: int = 10
    """Steps between checks of `until`, each a forward pass over the forget rows."""
    until_retain_slack: float | None = None
    """With `until`: go on until the retain loss, too, is at most so many nats a token above what it
    was at the first step; null = do not wait for it."""

    def __post_init__(self) -> None:
        slack, minutes = self.until_retain_slack, self.checkpoint_minutes
        refuse(
            above_zero("steps", self.steps),
            above_zero("epochs", self.epochs),
            above_zero("batch_size", self.batch_size),
            above_zero("micro_batch_size", self.micro_batch_size),
            above_zero("clip", self.clip),
            allowed(
                self.diagnose_every >= 0,
                "diagnose_every",
                self.diagnose_every,
                "0 (never) or more steps",
            ),
            at_least("until_every", self.until_every, 1, " steps"),
            allowed(
                slack is None or 0 <= slack < math.inf,
                "until_retain_slack",
                slack,
                "0 or more nats a token, or null",
            ),
            "until_retain_slack: needs training.until, the level that ends a run"
            if slack is not None and self.until is None
            else None,
            allowed(
                self.checkpoint_every >= 0,
                "checkpoint_every",
                self.checkpoint_every,
                "0 (none) or more steps",
            ),
            above_zero("checkpoint_minutes", minutes, "above 0, or null"),
        )


@dataclass
class EvaluationConfig:
    """What is measured, before, after and in between."""

    every: int = 0
    """Steps, or epochs, between evaluations during training; 0 = none. Never changes the steps."""
    unit: EvaluationUnit = EvaluationUnit.steps
    """What `every` counts: steps, or epochs (passes over the forget set)."""
    best: str | None = None
    """Metric by which the best evaluated state is chosen, such as model_utility; the run ends with
    that state, not with the last. Needs `every`. The untrained target is not among them."""
    mode: EvaluationMode | None = None
    """Whether the lowest (min) or the highest (max) value of `best` is the best, for a metric of
    which neither the package nor its reader or measure says so; null = as declared."""
    patience: int | None = None
    """Stop after so many evaluations in a row without a better `best`; null = never."""
    stop_when_accepted: bool = False
    """Stop at the first evaluation that meets every one of accept.conditions. Needs `every`."""
    max_new_tokens: int = 200
    """Most tokens of a generated answer; how many answers are cut there is said."""
    generate_tokens: int | None = None
    """Padded tokens of one generation batch, prompt and answer; null = 16384, or what 128 answers
    need where 2 GiB hold their keys and values."""
    score_tokens: int = 8192
    """Padded tokens of one scoring batch."""
    rows: int | None = None
    """Most rows scored of a split, for quick tries; null = all. The forget set is never cut: what
    is to be gone is always measured whole."""
    stemmer: bool = False
    """MUSE's verbmem and knowmem: compare stems instead of words, as OpenUnlearning does and MUSE
    itself does not. TOFU's measures always compare stems."""
    words: Words = Words.auto
    """Words of ROUGE: `tofu` (runs of a-z and 0-9, by which published numbers were made), `unicode`
    (of every script; a character each where a script has no spaces), or `auto`: as the reader of
    the data says, tofu for TOFU, MUSE and minitofu, else unicode."""
    min_k: float = 0.4
    """Share of an answer's least likely tokens that the membership attacks min_k and
    min_k_plus_plus read, above 0 up to 1. privleak always reads 0.4."""
    gradient_norm: bool = False
    """Also measure the membership attack gradient_norm: a forward and a backward pass for every
    forget and holdout row, one by one, at every evaluation."""
    kpis: Any = None
    """Business measures: {NAME: {_target_: MODULE.FUNCTION, option: value}}, or a list of such
    nodes. Each is called with (model, tokenizer) in every stage, and with those of rows, encoder
    and scores that it names, and returns a dict of numbers, which are logged as kpi/<key>. The key
    `better` (higher, lower, reference, a number, or a dict of these by name) says which way is
    good. Null = none."""

    def __post_init__(self) -> None:
        needs = "needs evaluation.every=STEPS, so that there is something to choose from"
        refuse(
            allowed(self.every >= 0, "every", self.every, "0 (none) or more steps or epochs"),
            *(
                f"{name}: {value}; {needs}" if value and self.every <= 0 else None
                for name, value in (
                    ("best", self.best),
                    ("stop_when_accepted", self.stop_when_accepted),
                )
            ),
            allowed(
                self.patience is None or (self.patience >= 1 and self.best is not None),
                "patience",
                self.patience,
                "1 or more evaluations, together with evaluation.best=METRIC",
            ),
            f"mode: {self.mode.name}; needs evaluation.best=METRIC, whose best value it tells"
            if self.mode is not None and self.best is None
            else None,
            above_zero("max_new_tokens", self.max_new_tokens),
            above_zero("generate_tokens", self.generate_tokens),
            above_zero("score_tokens", self.score_tokens),
            above_zero("rows", self.rows),
            allowed(
                0 < self.min_k <= 1, "min_k", self.min_k, "above 0 up to 1, a share of the tokens"
            ),
        )


class TrackerName(Enum):
    """The trackers that a run can report to."""

    wandb = "wandb"
    none = "none"


class TrackerMode(Enum):
    """Where wandb sends a run."""

    auto = "auto"
    online = "online"
    offline = "offline"


@dataclass
class TrackerConfig:
    """Options of the group ``tracker``."""

    name: TrackerName = TrackerName.wandb
    """``wandb`` or ``none``; the record on disk is the same with both."""
    mode: TrackerMode = TrackerMode.auto
    """``auto``: what WANDB_MODE says, else online where an API key is configured, else offline."""
    project: str = "unlearn"
    """Project that the runs are filed under."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    group: str | None = None
    """Group of runs; null takes the sweep's folder name in a sweep, and none otherwise."""
    tags: list[str] = field(default_factory=list)
    """Tags besides the names of method, data and model."""
    notes: str | None = None
    """A remark shown with the run."""
    log_model: bool = False
    """Also send the unlearned model, as an artifact of type ``model``: as many bytes as the folder
    ``model/`` has, for every run."""


@dataclass
class MethodConfig:
    """A forget objective × a retain objective × a weighting, with interventions or not."""

    forget: Any = None
    retain: Any = None
    weighting: Any = None
    retain_share: float = 0.5
    """The share c of a published method, which `weighting=linear` takes over; no other weighting
    has one. To choose your own, set `weighting.retain_share`."""
    interventions: dict[str, Any] = field(default_factory=dict)
    """What happens around a step besides, by name, in this order, each a part of
    unlearn.training.interventions; chosen as a list, `method/interventions=[sam]`."""


@dataclass
class AcceptConfig:
    """When a result is good enough."""

    conditions: list[Any] = field(default_factory=list)
    """Each {metric, at_least | at_most | within, of: before | reference}; without `of` a bound is a
    number, with it a multiple of the metric's value at that stage. `within` takes two bounds, or
    with `of` one distance."""
    strict: bool = False
    """End with exit status 3 where a condition is not met."""


@dataclass
class Config:
    """The root of the configuration."""

    data: Any = MISSING
    model: ModelConfig = MISSING
    method: MethodConfig | None = MISSING
    scheduler: Any = MISSING
    optimizer: Any = MISSING
    training: TrainingConfig = MISSING
    evaluation: EvaluationConfig = MISSING
    tracker: TrackerConfig = MISSING
    seed: int = 0
    """Order of the batches, and every random draw of a method."""
    reference: str = "auto"
    """The retain-only model: auto (a published one, else train), train, none, or a path."""
    accept: AcceptConfig = field(default_factory=AcceptConfig)
    attack: dict[str, Any] = field(default_factory=dict)
    """Attacks on the finished model by name, each a part of unlearn.attacks; chosen as a list."""
    attack_before: str | None = None
    """With method=none: the model before unlearning, for the attacks' recovered shares."""
    objective: list[str] | None = None
    """Metrics after unlearning that a sweeper gets to see, such as [forget/rougeL_recall,
    retain/rougeL_recall]; null = none. See `experiment=search`."""


SCHEMAS = {
    "model": ModelConfig,
    "method": MethodConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "tracker": TrackerConfig,
}
