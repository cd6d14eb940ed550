"""`unlearn --clean`: the texts of rows go from run folders and from the cache, the numbers stay.

Everything is read, and every folder held, before anything is written; each file is then written
whole or removed. Called twice, it does again what a first call left undone, and nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import escape

from unlearn.experiment.erasing_cache import (
    Told,
    erase_evaluations,
    erase_prepared,
    name_other_models,
    prepared_entry,
)
from unlearn.experiment.erasing_held import (
    PLACE,
    Held,
    Line,
    hold,
    is_text,
    read_held,
    runs_below,
)
from unlearn.record.checkpoints import FOLDER as CHECKPOINTS
from unlearn.record.layout import ANSWERS, ERASED, LOG, SUMMARY, Progress, read_summary
from unlearn.record.limits import json_in, text_of
from unlearn.record.resuming import leaves_of
from unlearn.record.stamp import FILES as FILE_HASHES
from unlearn.record.stamp import KEY, READ, require_stamp, write_stamped
from unlearn.report import write_report
from unlearn.report.comparison.html import POLICY
from unlearn.report.comparison.runs import folders_of
from unlearn.storage.files import entries_below, write_json_atomic, write_text_atomic
from unlearn.storage.sealed import file_sha256

PAGE, COMPARISON = "report.md", "comparison.html"
NOTES = ("notes", "attacks")
"""What of a record may tell of an error in the words of a measure or an attack."""
FILES = ("forget", "retain", "general", "holdout")
"""Options of data=files that name input files, there or not."""
LOG_NOTE = "INFO the log was erased by unlearn --clean, as its lines may quote rows\n"


def clean(arguments: Sequence[str]) -> Told:
    """Erase the texts of the runs at or below these folders; returns what went and what is left.

    Raises ConfigurationError, with nothing written, for a folder without a run, one in which a
    process is running, and a record that cannot be read.
    """
    folders = folders_of(arguments)
    runs = runs_below(folders)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    told = Told()
    with ExitStack() as stack:
        for run in runs:
            hold(run, stack)
        held = [read_held(run) for run in runs]
        # The cache first: the rows by which its entries are found lie in the run folders.
        lines = [line for one in held for line in one.lines]
        quoted = {(str(line.get("question")), str(line.get("truth"))) for line in lines}
        erase_evaluations(quoted, told)
        for one in held:
            for role, path in one.models.items():
                erase_prepared(path, f"the {role} of {one.path}", told)
        name_other_models([line for line in lines if line.get("split") == "forget"], told)
        for one in held:
            _erase(one, now, told)
        _erase_pages([*folders, *runs, *(run.parent for run in runs)], told)
    return told


def _erase(held: Held, now: str, told: Told) -> None:
    """Erase the texts of one run folder: tables, logs, then the record, and last the page."""
    before = len(told.erased)
    damaged = _damaged(held)
    for file, lines in held.generations.items():
        kept = [
            {k: None if is_text(v) and k not in PLACE else v for k, v in line.items()}
            for line in lines
        ]
        said = (json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
        write_text_atomic(file, "".join(said))
        told.erased.append(f"{file}: questions and answers of {len(lines)} rows; numbers stay")
    for left in _half_written(held.path):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
        told.erased.append(f"{left}: left half-written by a process that was killed")
    log = held.path / LOG
    if log.exists() and not _text(log).endswith(LOG_NOTE):
        write_text_atomic(log, f"{now} {LOG_NOTE}")
        told.erased.append(f"{log}: its lines may quote rows")
    wandb = held.path / "wandb"
    if wandb.is_dir() and not wandb.is_symlink():
        shutil.rmtree(wandb)
        told.erased.append(f"{wandb}: wandb's files of this run")
    checkpoints = held.path / CHECKPOINTS
    if held.progress is not Progress.complete and checkpoints.is_dir():
        shutil.rmtree(checkpoints)
        told.erased.append(f"{checkpoints}: of an unfinished run, which cannot go on any more")
    _note(held, now, len(told.erased) > before, told, damaged)
    told.left += _left_of(held)


def _note(held: Held, now: str, changed: bool, told: Told, damaged: Set[str]) -> None:
    """Write into records and page when the texts were erased, where they do not say it yet."""
    for file, record in held.records.items():
        without = without_quotations(record)
        if without != record:
            told.erased.append(f"{file}: what errors said; numbers stay")
        if changed or without != record or ERASED not in record:
            _rewrite(file, {**without, ERASED: now}, damaged)
    page = held.path / PAGE
    summary = read_summary(held.path)
    if page.exists() and (summary is None or summary[ERASED] not in _text(page)):
        page.unlink()
        if summary is not None:
            figures = sorted((held.path / "figures").glob("*.png"))
            write_report(held.path, figures=figures)
        told.erased.append(f"{page}: written anew without answers")


def _damaged(held: Held) -> Set[str]:
    """Return the tables with texts that are not as the run's record says they were written."""
    record = held.records.get(held.path / SUMMARY, {})
    known = (record.get("provenance") or {}).get(FILE_HASHES) or {}
    names = {file.relative_to(held.path).as_posix(): file for file in held.generations}
    return {
        name for name, file in names.items() if name in known and known[name] != file_sha256(file)
    }


def _rewrite(file: Path, record: dict[str, Any], damaged: Set[str]) -> None:
    """Write a record anew, with the hashes of what was erased; what was damaged stays so.

    A call that was cut has erased tables without noting their hashes.
    """
    try:
        text = text_of(file)
        require_stamp(text, json_in(text, file.name), file.name)
    except ValueError:
        write_json_atomic(file, record)
        return
    known = (record.get("provenance") or {}).get(FILE_HASHES) or {}
    for name in known:
        if READ.fullmatch(name) and name.endswith(ANSWERS) and name not in damaged:
            table = file.parent / name
            known[name] = file_sha256(table) if table.is_file() else known[name]
    if KEY in record:
        write_stamped(file, record)
    else:
        write_json_atomic(file, record)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _half_written(run: Path) -> list[Path]:
    """Return what a killed process left half-written beside the files of a run."""
    hidden = [path for path in entries_below(run) if path.name.startswith(".")]
    unfinished = [path for path in hidden if path.suffix == ".unfinished" and path.is_dir()]
    inside = [path for path in hidden if path.suffix == ".tmp" and path.is_file()]
    return [*unfinished, *(p for p in inside if not any(u in p.parents for u in unfinished))]


def without_quotations(record: Line) -> Line:
    """Return a record of which errors say their kind alone: what they told may quote a row."""

    def cut(note: Any) -> Any:
        if isinstance(note, Mapping):
            return {name: cut(inner) for name, inner in note.items()}
        if isinstance(note, list):
            return [cut(inner) for inner in note]
        return re.sub(r"(: raised \w+): .*", r"\1", note, flags=re.DOTALL)

    found = {**record, **{name: cut(record[name]) for name in NOTES if record.get(name)}}
    if record.get("error"):
        found["error"] = record["error"].partition(":")[0]
    return found


def _erase_pages(folders: Sequence[Path], told: Told) -> None:
    """Remove the comparison pages in these folders; they hold answers of every run."""
    for folder in {folder.resolve(): folder for folder in folders}.values():
        page = folder / COMPARISON
        if not page.is_file():
            continue
        if str(escape(POLICY)) in _text(page)[:20_000]:
            page.unlink()
            told.erased.append(f"{page}: `unlearn-compare {folder}` writes it anew")
        else:
            told.left.append(f"{page}: not written by this version of unlearn-compare")
        if (folder / ".submitit").is_dir():
            told.left.append(f"{folder / '.submitit'}: what jobs of a cluster printed")


def _left_of(held: Held) -> Iterator[str]:
    """Name what of a run only a person can erase."""
    run, path = held.run, held.path
    for role, model in held.models.items():
        if prepared_entry(model) is None and not _was_prepared(model):
            yield f"{model}: the {role} of {path}, given by path or name"
    if (path / "model").is_dir():
        yield f"{path / 'model'}: the unlearned model, with its tokenizer"
    if held.progress is Progress.complete and (path / CHECKPOINTS).is_dir():
        yield f"{path / CHECKPOINTS}: states of the model on its way"
    started = Path(run.runtime.get("cwd") or ".")
    for name, value in leaves_of(run.config.get("data") or {}).items():
        if not isinstance(value, str) or "${" in value or name.startswith("_"):
            continue
        file = started / Path(value).expanduser()
        if name in FILES or file.exists():
            yield f"{file if file.exists() else value}: the input data.{name} of {path}"
    if (path / "wandb_id").exists():
        identity = (path / "wandb_id").read_text(encoding="utf-8").strip()
        yield (
            f"wandb run {identity} of {path}: if it was sent, erase it there; tables of offline "
            "runs wait in wandb's own data folder (WANDB_DATA_DIR, else ~/.local/share/wandb)"
        )


def _was_prepared(model: str) -> bool:
    """Return whether a path is that of a model that this project made and that is gone now."""
    return Path(model).parent.name == "prepared" and not Path(model).exists()
