r"""Tasks of lm-evaluation-harness on the model of a stage, as its own command line would run them.

`evaluation.lm_eval.tasks=[mmlu]` adds `lm_eval/mmlu/acc` to every stage, with the way that is good
as lm-eval declares it. Its numbers are those of

    lm-eval run --model hf --model_args pretrained=RUN/model,dtype=float32 \
        --tasks mmlu --batch_size 8

to the last digit (under autocast with mixed_precision_dtype=bfloat16 among the model's arguments):
the same class, tasks and seeds, on the model that is there already. lm-eval reseeds every global
generator; they are put back, as after any measure.
"""

from __future__ import annotations

import copy
import difflib
import logging
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.data.source import without_progress_bars
from unlearn.errors import ConfigurationError, to_install
from unlearn.evaluation.measures import COMPUTE, Measure, ways_of
from unlearn.metrics.catalogue import Way
from unlearn.options.schema import LmEvalConfig

OPTION, PREFIX = "evaluation.lm_eval", "lm_eval/"
NO_FILTER = "none"
"""lm-eval's name for the answers as they are."""
SHOWN = 3
"""Names like a misspelt one that a message shows."""


@dataclass
class Harness:
    """Runs the tasks on a model; an object is made once, before any model loads."""

    config: LmEvalConfig
    manager: Any
    """lm-eval's index of the tasks that it knows."""
    tasks: list[str]
    """What of them is run, stars resolved."""
    ways: dict[str, Way] = field(default_factory=dict)
    """Which way is good, by name without the prefix: what is declared, then what lm-eval says."""

    def __call__(self, model: LanguageModel, tokenizer: Any, compute: Compute) -> dict[str, float]:
        """Return the numbers of the tasks that were asked for, as `<task>/<metric>`."""
        with _quiet():
            found = self._evaluated(model, tokenizer, compute)
        own = ways_of(self.config.better, PREFIX)
        numbers: dict[str, float] = {}
        for task in self._recorded(found):
            for metric, name, value in _numbers(task, found["results"][task]):
                numbers[name] = value
                higher = found["higher_is_better"].get(task, {}).get(metric)
                if isinstance(own, Mapping) and name in own:
                    self.ways[name] = own[name]
                elif higher is not None:
                    self.ways[name] = "higher" if higher else "lower"
        return numbers

    def _evaluated(self, model: LanguageModel, tokenizer: Any, compute: Compute) -> dict[str, Any]:
        """Do what lm-eval's `simple_evaluate` does, less its look at git, pip and the machine."""
        from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM

        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)
        torch.manual_seed(DEFAULT_OTHER_SEED)
        loaded = self.manager.load(list(self.tasks))
        for task in loaded["tasks"].values():
            of_task = task.get_config("num_fewshot")
            if of_task is None or (self.config.shots is not None and of_task != 0):
                task.set_config(key="num_fewshot", value=self.config.shots or 0)
            task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        wrapped = HFLM(
            pretrained=model,
            # It gets a padding token where there is none, which must not reach ours.
            tokenizer=copy.deepcopy(tokenizer),
            backend="causal",
            batch_size=self.config.batch_size,
            mixed_precision_dtype=torch.bfloat16 if compute.bfloat16 else None,
        )
        return evaluate(
            lm=wrapped,
            task_dict=loaded,
            limit=self.config.rows,
            bootstrap_iters=0,  # of standard errors, which are not recorded
            log_samples=False,
            apply_chat_template=self.config.chat,
            fewshot_as_multiturn=True,
        )

    def _recorded(self, found: Mapping[str, Any]) -> list[str]:
        """Return the tasks whose numbers are recorded: those named; of what has none, its parts."""
        recorded: list[str] = []
        waiting = list(self.tasks)
        while waiting:
            name = waiting.pop(0)
            if any(True for _ in _numbers(name, found["results"].get(name, {}))):
                recorded.append(name)
                continue
            entry = self.manager.task_index.get(name)
            parts = found["group_subtasks"].get(name) or sorted(entry.tags if entry else ())
            waiting += [part for part in parts if part != name]
        return list(dict.fromkeys(recorded))


def harness_of(config: LmEvalConfig) -> Measure | None:
    """Return the measure that the options describe, None where they name no task; no model yet.

    Raises ConfigurationError where lm-eval is not installed, and for tasks that it does not know.
    """
    if not config.tasks:
        return None
    missing = [name for name in ("lm_eval", "accelerate", "peft") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"tasks: {', '.join(config.tasks)}; they need {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed: {to_install('lm-eval')}"
        )
    folder = None if config.include_path is None else Path(config.include_path).expanduser()
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(
            f"include_path: {config.include_path}; allowed: a folder with the YAML files of tasks"
        )
    manager, tasks = _known(config.tasks, folder)
    better = ways_of(config.better, PREFIX)
    harness = Harness(config, manager, tasks, _declared(manager, tasks))
    if isinstance(better, Mapping):
        harness.ways |= better
    asked = {name: value for name, value in asdict(config).items() if name != "better"}
    return Measure(
        option=OPTION,
        node={"_target_": "lm_eval", **asked, "version": version("lm_eval")},
        call=harness,
        # The same dict: what lm-eval says of a metric as it gives it is known from then on.
        better=harness.ways if isinstance(better, Mapping) or better is None else better,
        asks=(COMPUTE,),
        prefix=PREFIX,
    )


def _known(names: Sequence[str], folder: Path | None) -> tuple[Any, list[str]]:
    """Return an index that has all these tasks, and their names; lm-eval's own are read last.

    There are thousands of those, and reading them takes most of a minute.
    """
    from lm_eval.tasks import TaskManager

    with _quiet():
        for defaults in (False, True) if folder is not None else (True,):
            manager = TaskManager(
                include_path=None if folder is None else str(folder), include_defaults=defaults
            )
            unknown = [name for name in names if not manager.match_tasks([name])]
            if not unknown:
                return manager, manager.match_tasks(list(names))
    problems = []
    for name in unknown:
        close = difflib.get_close_matches(name, manager.all_tasks, SHOWN, 0.6)
        advice = f"did you mean {', '.join(close)}?" if close else "`lm-eval ls tasks` lists them"
        where = "" if folder is None else f", nor one in evaluation.lm_eval.include_path={folder}"
        problems.append(f"tasks: {name!r} is no task, group or tag of lm-eval{where}; {advice}")
    raise ConfigurationError(problems)


def _declared(manager: Any, tasks: Sequence[str]) -> dict[str, Way]:
    """Return the ways that the YAML files of these tasks declare, before anything was run."""
    ways: dict[str, Way] = {}
    for task in tasks:
        of_task = (manager.task_index[task].cfg or {}).get("metric_list")
        for metric in of_task if isinstance(of_task, list) else []:
            if isinstance(metric, Mapping) and isinstance(metric.get("higher_is_better"), bool):
                way = "higher" if metric["higher_is_better"] else "lower"
                ways[f"{task}/{metric.get('metric')}"] = way
    return ways


def _numbers(task: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield metric, name and value of a task's results, whose keys are `metric,filter`."""
    for key, value in found.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, Real):
            last = metric if filtered == NO_FILTER else f"{metric}.{filtered}"
            yield metric, f"{task}/{last}", float(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's bars, hints and warnings about others out of the terminal and the log."""
    import tqdm

    library, kept = logging.getLogger("lm_eval"), logging.getLogger("lm_eval").level
    bars = tqdm.tqdm.__init__

    def shut(bar: Any, *args: Any, **options: Any) -> None:
        bars(bar, *args, **{**options, "disable": True})

    library.setLevel(logging.ERROR)
    tqdm.tqdm.__init__ = shut
    try:
        with warnings.catch_warnings(), without_progress_bars():
            warnings.simplefilter("ignore")
            yield
    finally:
        tqdm.tqdm.__init__ = bars
        library.setLevel(kept)
