"""The typed configuration: what can be set, its default, its unit and its range.

Imported by every command, `--help` and tab completion included, so nothing heavy is imported here.
The parts that a configuration names by `_target_` (readers, objectives, weightings, schedulers)
are dataclasses of their own rooms: their fields are their options.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from omegaconf import MISSING

from unlearn.data.turns import ARGUMENTS, parse_date
from unlearn.options.declared import (
    ABOVE_ZERO,
    BELOW_ONE,
    LARGEST,
    ONE_OR_MORE,
    SEED,
    SHARE,
    ZERO_OR_MORE,
    Range,
    Ranged,
    option,
    range_problems,
    refuse,
)

SOME = Range("above 0 up to 1, a share of the tokens", lambda share: 0 < share <= 1)


LENGTH = Range("8 or more tokens", lambda tokens: tokens >= 8, most=10_000_000)
ROWS = Range("above 0", ABOVE_ZERO.holds, most=1_000_000)
TOKENS = Range("above 0", ABOVE_ZERO.holds, most=1_000_000)
VOCABULARY = Range("300 or more (256 are the bytes)", lambda n: n >= 300, most=1_000_000)
DECAY = Range("0 or more", ZERO_OR_MORE.holds, most=1_000)


def _up_to(most: int) -> Range:
    """Return the range of sizes that a model may have."""
    return Range("1 or more", ONE_OR_MORE.holds, most=most)


def _from_zero(words: str) -> Range:
    """Return the range of numbers of which 0 has a meaning of its own, told in `words`."""
    return Range(words, ZERO_OR_MORE.holds)


class Dtype(Enum):
    """Precision of the weights that are trained."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class SaveDtype(Enum):
    """Precision of the saved weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


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


class Sharding(Enum):
    """How the processes of torchrun share a model."""

    auto = "auto"
    none = "none"
    ddp = "ddp"
    fsdp = "fsdp"


class TargetChoice(Enum):
    """Whether the model is taught the rows before it unlearns them."""

    auto = "auto"
    as_is = "as_is"
    train = "train"


class Template(Enum):
    """How a question becomes a prompt."""

    auto = "auto"
    chat = "chat"
    plain = "plain"
    raw = "raw"


@dataclass
class TinyConfig(Ranged):
    """Shape of the embedded model, a Llama; used where `model.path` is null."""

    hidden_size: int = option(128, _up_to(65_536))
    layers: int = option(3, _up_to(1_000))
    heads: int = option(4, _up_to(1_000))
    intermediate_size: int = option(384, _up_to(262_144))
    vocabulary: int = option(2048, VOCABULARY)
    """Most entries of the byte-pair tokenizer, the 256 bytes included."""
    seed: int = option(0, SEED)
    """Seed of the initial weights."""

    def __post_init__(self) -> None:
        refuse(
            *range_problems(self),
            None
            if self.heads < 1 or self.hidden_size % (2 * self.heads) == 0
            else f"heads: {self.heads} heads do not divide model.tiny.hidden_size="
            f"{self.hidden_size} into heads of an even size",
        )


@dataclass
class FineTuningConfig(Ranged):
    """How a model that does not know the data yet learns it: the recipe of target and reference."""

    lr: float = option(1e-5, ABOVE_ZERO)
    """Peak learning rate of AdamW; linear warm-up, then half a cosine to a twentieth."""
    epochs: int = option(5, ABOVE_ZERO)
    """Most passes over the rows."""
    batch_size: int = option(32, ROWS)
    """Rows a step."""
    micro_batch_size: int | None = option(None, ROWS)
    """Rows a forward pass; null = `batch_size`."""
    weight_decay: float = option(0.0, DECAY)
    warmup: float = option(0.05, BELOW_ONE)
    """Share of the steps."""
    accuracy: float = option(0.999, SHARE)
    """Stop once this share of answer tokens of an epoch was predicted."""
    floor: float = option(0.95, SHARE)
    """A target that predicts less than this share of its answer tokens is reported as weak."""
    seed: int = option(0, SEED)
    """Order of the rows. Independent of `seed`: runs that differ in their seed share one target."""


class Quantize(Enum):
    """What the frozen weights below an adapter are kept as."""

    none = "none"
    nf4 = "nf4"


ALL_LINEAR = "all-linear"
"""Every linear layer of a model but its output layer, in peft's word."""


def _names_modules(value: Any) -> bool:
    """Return whether a value says which layers get an adapter."""
    if value == ALL_LINEAR:
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(n, str) and n for n in value)


@dataclass
class AdapterConfig(Ranged):
    """LoRA (Hu et al. 2021, arXiv 2106.09685): W + alpha/rank·B·A, of which W is frozen.

    QLoRA (Dettmers et al. 2023, arXiv 2305.14314), where W is kept in 4 bits.
    There is no dropout among the options: models are trained in evaluation mode.
    """

    rank: int = option(16, _up_to(65_536))
    """r: columns of B, rows of A. The product B·A is zero where training starts."""
    alpha: int = option(32, ONE_OR_MORE)
    """The product is scaled by alpha/rank."""
    target_modules: Any = option(
        ALL_LINEAR, Range("all-linear, or a list of names", _names_modules)
    )
    """Layers that get an adapter: `all-linear` (the output layer apart), or a list of the last
    parts of their names, such as [q_proj, v_proj]."""
    quantize: Quantize = Quantize.none
    """nf4 = every linear layer but the output layer is kept in 4 bits, those without an adapter
    too, which needs bitsandbytes; none = as `model.dtype` says."""
    save: bool = False
    """Also write the adapter, before it is merged and rounded, as `model/adapter/`."""

    @property
    def in_4_bits(self) -> bool:
        """Whether the frozen layers are kept in 4 bits."""
        return self.quantize is Quantize.nf4


@dataclass
class ModelConfig(Ranged):
    """Which model, in which precision, on which device."""

    path: str | None = None
    """Hub id or folder of a causal language model; null = the embedded tiny model."""
    base: str | None = None
    """Base model of a LoRA folder in `path`; null = the one that its adapter_config.json names."""
    tokenizer: str | None = None
    """Hub id or folder of the tokenizer; null = `path`."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: Dtype = Dtype.float32
    """Weights that are trained; bfloat16, in which rounding to the nearest loses most updates of a
    small learning rate, only below an adapter, whose own weights are float32 whatever the base, or
    with optimizer=adamw_8bit of torchao, which rounds each update up or down at random."""
    save_dtype: SaveDtype | None = None
    """Precision of the weights that are saved, to which they are rounded before `after` is
    measured; null = the checkpoint's own."""
    autocast: Autocast = Autocast.auto
    """auto = bfloat16 where the device computes it natively."""
    attention: Attention | None = None
    """null = the architecture's own choice: sdpa where it has that, else eager."""
    gguf_file: str | None = None
    """Name of a GGUF file inside `path`."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    template: Template = Template.auto
    """auto = the tokenizer's chat template where it has one, else `Question: …\\nAnswer:` (plain);
    raw = the question as it is written, with the answer behind a space."""
    system_prompt: str | None = None
    """System turn of a chat template; null = none of ours (some templates put in their own)."""
    chat_date: str = "26 Jul 2024"
    """The day, like 26 Jul 2024, that a chat template takes for today; results must not depend on
    the day of a run."""
    chat_options: dict[str, Any] = field(default_factory=dict)
    """Variables of the chat template, such as `{enable_thinking: false}`."""
    max_length: int | None = option(512, LENGTH)
    """Most tokens of prompt and answer; longer answers are cut, and texts become windows. null =
    what the checkpoint says of itself: its positions, and its tokenizer's limit where that is
    less. Never more than the model's own positions."""
    published_reference: dict[str, str] = field(default_factory=dict)
    """Retain-only models that others have published, by the data's subset name."""
    weights: int | None = option(None, replace(ABOVE_ZERO, most=1e13))
    """How many weights a preset's model has. Where it says so, and the command names neither
    adapter, precision nor optimizer, the first of these ways is taken that the memory there allows:
    every weight in float32, with 8-bit AdamW (where torchao is), LoRA, LoRA on bfloat16 weights,
    QLoRA (where bitsandbytes is)."""
    adapter: AdapterConfig | None = None
    """Small matrices that are trained instead of the weights, chosen as `model/adapter=lora` or
    `model/adapter=qlora`; null = the weights themselves."""
    tiny: TinyConfig = field(default_factory=TinyConfig)
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)

    @property
    def starts_in_4_bits(self) -> bool:
        """Whether what a training starts from is the model as 4 bits hold it (QLoRA)."""
        return self.adapter is not None and self.adapter.in_4_bits

    @property
    def small(self) -> bool:
        """Whether its operations are too small for more than one core: some 4M weights."""
        return self.path is None and 12 * self.tiny.layers * self.tiny.hidden_size**2 <= 4_000_000

    def __post_init__(self) -> None:
        refuse(
            *range_problems(self),
            f"chat_date: {self.chat_date}; allowed: a day like 26 Jul 2024 or 2024-07-26"
            if parse_date(self.chat_date) is None
            else None,
            *(
                f"chat_options: {name} is an argument of apply_chat_template that unlearn sets "
                "itself, not a variable of the template; leave it out"
                for name in self.chat_options
                if name in ARGUMENTS
            ),
        )


@dataclass
class TrainingConfig(Ranged):
    """The unlearning loop."""

    steps: int | None = option(None, ABOVE_ZERO)
    """Optimizer steps; null = `epochs`, and where that is null too, 150 steps or 6 passes over
    the retain set, whichever is more: forgetting takes steps, mending the rest takes passes. By
    default never more than 1,500."""
    epochs: float | None = option(None, ABOVE_ZERO)
    """Passes over the forget set; used where `steps` is null."""
    batch_size: int = option(16, ROWS)
    """Rows a task and step: so many forget rows and so many retain rows."""
    micro_batch_size: int | None = option(None, ROWS)
    """Rows a forward pass; null = `batch_size`. Changes memory, not results."""
    clip: float | None = option(None, ABOVE_ZERO)
    """Largest norm of the combined direction; null = no clipping. NGDiff's norm lies in [0, 2], so
    1.0 would clip most of its steps."""
    park_gradient: bool = False
    """On a GPU: keep the gradient of the retain task in the CPU's memory while that of the forget
    task is taken, which saves the bytes of one gradient there and changes no result."""
    offload_activations: bool = False
    """On a GPU: keep what the backward pass needs in the CPU's memory until then, which leaves one
    layer's activations on the GPU at a time, takes the time of the bus, and changes no result."""
    sharding: Sharding = Sharding.auto
    """Under torchrun: `ddp` = each process has the whole model and a share of every batch's rows;
    `fsdp` = the weights are shared out, too; `auto` = `ddp` where a GPU has room for weights, two
    gradients and Adam, else `fsdp`; `none` = one process alone. Changes no result but its rounding.
    """
    checkpoint_every: int = option(50, _from_zero("0 (none) or more steps"))
    """Steps between saved states, of which the newest is kept until the run completes: the same
    command with the same `hydra.run.dir` goes on from it. 0 = none by steps."""
    checkpoint_minutes: float | None = option(10.0, Range("above 0, or null", ABOVE_ZERO.holds))
    """Save one also where the last is so many minutes old; null = by steps only."""
    keep_checkpoints: bool = False
    """Leave `checkpoints/` in place at the end."""
    conclude: bool = False
    """Take no further step: the model as the newest checkpoint of a stopped run has it is measured,
    judged and saved, and the run is complete. Give the run's command and its `hydra.run.dir`."""
    diagnose_every: int = option(10, _from_zero("0 (never) or more steps"))
    """Steps between those at which a method with fixed weights takes its two gradients apart, for
    norms, cosine and interval in the record: one gradient more in memory; 0 = never. Every other
    weighting knows both gradients at every step."""
    until: Any = "auto"
    """Stop early, once the mean NLL of the forget rows has reached a level: `reference` (theirs
    under the retain-only model), `holdout` (that of the holdout rows under the target), or a number
    in nats a token; `auto` = the first of the two that is there, for a forget loss that has no end
    of its own, and every step for the others; null = take every step."""
    until_every: int = option(10, Range("1 or more steps", ONE_OR_MORE.holds))
    """Steps between checks of `until`, each a forward pass over the forget rows."""
    until_retain_slack: float | None = option(None, _from_zero("0 or more nats a token, or null"))
    """With `until`: go on until the retain loss, too, is at most so many nats a token above what it
    was at the first step; null = do not wait for it."""

    def __post_init__(self) -> None:
        refuse(
            *range_problems(self),
            "until_retain_slack: needs training.until, the level that ends a run"
            if self.until_retain_slack is not None and self.until is None
            else None,
        )


@dataclass
class LmEvalConfig(Ranged):
    """Tasks of lm-evaluation-harness, run on the model in every stage; needs the extra lm-eval."""

    tasks: list[str] = field(default_factory=list)
    """Names of tasks, groups or tags, such as [mmlu, hellaswag], stars allowed; empty: none. Their
    numbers are lm_eval/<task>/<metric>, those of a filter lm_eval/<task>/<metric>.<filter>."""
    include_path: str | None = None
    """Folder with the YAML files of tasks of your own, which need no hub; their `!function` is code
    that is run."""
    rows: int | None = option(None, ROWS)
    """Most rows of each task, its first ones, lm-eval's --limit; null = all."""
    shots: int | None = option(None, _from_zero("0 or more, or null"))
    """Examples ahead of each question, lm-eval's --num_fewshot; null = as each task says."""
    batch_size: int = option(8, ROWS)
    """Requests of one forward pass. Changes the last digits at most."""
    chat: bool = False
    """Put every prompt into the tokenizer's chat template, lm-eval's --apply_chat_template."""
    better: Any = None
    """Which way is good where it is not as lm-eval says: {wmdp_bio/acc: lower}, or one for all."""

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("include_path", "rows", "shots", "better")}
        refuse(
            *range_problems(self),
            *(
                f"{name}: {value}; needs evaluation.lm_eval.tasks=[NAME], the tasks that are run"
                for name, value in given.items()
                if value is not None and not self.tasks
            ),
        )


@dataclass
class EvaluationConfig(Ranged):
    """What is measured, before, after and in between."""

    every: int = option(0, _from_zero("0 (none) or more steps or epochs"))
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
    max_new_tokens: int = option(200, TOKENS)
    """Most tokens of a generated answer; how many answers are cut there is said."""
    generate_tokens: int | None = option(None, ABOVE_ZERO)
    """Padded tokens of one generation batch, prompt and answer; null = 16384, or what 128 answers
    need where 2 GiB hold their keys and values; halved where they do not fit the memory."""
    score_tokens: int = option(8192, ABOVE_ZERO)
    """Padded tokens of one scoring batch; halved where they do not fit the memory."""
    rows: int | None = option(None, ABOVE_ZERO)
    """Most rows scored of a split, for quick tries; null = all. The forget set is never cut: what
    is to be gone is always measured whole."""
    stemmer: bool = False
    """MUSE's verbmem and knowmem: compare stems instead of words, as OpenUnlearning does and MUSE
    itself does not. TOFU's measures always compare stems."""
    words: Words = Words.auto
    """Words of ROUGE: `tofu` (runs of a-z and 0-9, by which published numbers were made), `unicode`
    (of every script; a character each where a script has no spaces), or `auto`: as the reader of
    the data says, tofu for TOFU, MUSE, LUME, RWKU and minitofu, else unicode."""
    min_k: float = option(0.4, SOME)
    """Share of an answer's least likely tokens that the membership attacks min_k and
    min_k_plus_plus read, above 0 up to 1. privleak always reads 0.4."""
    end_token: bool = True
    """Whether exact_memorization, extraction_strength, mia_min_k, mia_min_k_plus_plus and privleak
    count the end of an answer. false: they are as OpenUnlearning computes and publishes them,
    without it."""
    gradient_norm: bool = False
    """Also measure the membership attack gradient_norm: a forward and a backward pass for every
    forget and holdout row, one by one, at every evaluation."""
    kpis: Any = None
    """Business measures: {NAME: {_target_: MODULE.FUNCTION, option: value}}, or a list of such
    nodes. Each is called with (model, tokenizer) in every stage, and with those of rows, encoder
    and scores that it names, and returns a dict of numbers, which are logged as kpi/<key>. The key
    `better` (higher, lower, reference, a number, or a dict of these by name) says which way is
    good. Null = none."""
    lm_eval: LmEvalConfig = field(default_factory=LmEvalConfig)

    def __post_init__(self) -> None:
        needs = "needs evaluation.every=STEPS, so that there is something to choose from"
        refuse(
            *range_problems(self),
            *(
                f"{name}: {value}; {needs}" if value and self.every <= 0 else None
                for name, value in (
                    ("best", self.best),
                    ("stop_when_accepted", self.stop_when_accepted),
                )
            ),
            f"patience: {self.patience}; allowed: 1 or more evaluations, together with "
            "evaluation.best=METRIC"
            if self.patience is not None
            and (not 1 <= self.patience <= LARGEST or self.best is None)
            else None,
            f"mode: {self.mode.name}; needs evaluation.best=METRIC, whose best value it tells"
            if self.mode is not None and self.best is None
            else None,
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


PROJECT = Range(
    "1 to 128 letters, none of / \\ # ? % :",
    lambda name: 0 < len(name.strip()) <= 128 and not set(name) & set("/\\#?%:"),
)
"""What wandb takes for the name of a project."""
NAME = Range("1 to 128 letters, or null", lambda name: 0 < len(name.strip()) <= 128)
TAGS = Range(
    "a list of texts of 1 to 64 letters",
    lambda tags: all(isinstance(tag, str) and 0 < len(tag.strip()) <= 64 for tag in tags),
)


@dataclass
class TrackerConfig(Ranged):
    """Options of the group ``tracker``."""

    name: TrackerName = TrackerName.wandb
    """``wandb`` or ``none``; the record on disk is the same with both."""
    mode: TrackerMode = TrackerMode.auto
    """``auto``: what WANDB_MODE says, else online where an API key is configured, else offline."""
    project: str = option("unlearn", PROJECT)
    """Project that the runs are filed under."""
    entity: str | None = option(None, NAME)
    """User or team; null takes the account's default."""
    group: str | None = option(None, NAME)
    """Group of runs; null takes the sweep's folder name in a sweep, and none otherwise."""
    tags: list[str] = option([], TAGS)
    """Tags besides the names of method, data and model."""
    notes: str | None = None
    """A remark shown with the run."""
    log_model: bool = False
    """Also send the unlearned model, as an artifact of type ``model``: as many bytes as the folder
    ``model/`` has, for every run."""
    texts: bool | None = None
    """Also send questions and answers; null = those of a benchmark only, which are public."""


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
    target: TargetChoice = TargetChoice.auto
    """Whether model.path learns the rows first: as_is = never; train = always; auto = only the rows
    of a benchmark (its reader says so), where the model does not know them."""
    reference: str = "auto"
    """The retain-only model: auto (a published one, else train), train, none, or a path."""
    accept: AcceptConfig = field(default_factory=AcceptConfig)
    attack: dict[str, Any] = field(default_factory=dict)
    """Attacks on the finished model by name, each a part of unlearn.attacks; chosen as a list."""
    attack_before: str | None = None
    """With method=none: the model before unlearning, for the attacks' recovered shares."""
    objective: list[str] | None = None
    """Metrics after unlearning that a sweeper gets to see, such as [forget/rougeL_recall,
    retain/rougeL_recall]; null = none. Of forget metrics it sees the distance from the reference's.
    See `experiment=search`."""


SCHEMAS = {
    "model": ModelConfig,
    "method": MethodConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "tracker": TrackerConfig,
}
