"""Render a chat template with limits of the system's: a program, started by `rendering.py`.

It reads what to render as JSON and prints what was too much, or nothing. It imports Jinja alone, so
that it starts in a tenth of a second, and knows of transformers' environment what templates use;
an error of the template is none of its business.
"""

import json
import sys
from datetime import datetime
from typing import Any


def limit(seconds: int, memory: int) -> None:
    """Let the system end this process after so many seconds of computing, or refuse it memory."""
    try:
        import resource
    except ImportError:  # Windows: whoever started this waits no longer than it wants to
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, hard))
        except (ValueError, OSError):  # macOS has no limit of memory
            continue


def environment() -> Any:
    """Return Jinja's sandbox with what transformers adds to it."""
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(
                parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line
            )

    def raise_exception(message: str) -> None:
        raise ValueError(message)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = datetime.now().strftime
    return made


def rendered(told: dict[str, Any]) -> str:
    """Return what was too much, an empty text where nothing was."""
    try:
        template = environment().from_string(told["template"])
        for turns, opened in told["conversations"]:
            letters = 0
            given = {"messages": turns, "add_generation_prompt": opened, **told["variables"]}
            for piece in template.generate(**given):
                letters += len(piece)
                if letters > told["letters"]:
                    return f"it writes more than {told['letters']:,} letters"
    except MemoryError:
        return f"it needs more than {told['memory']:,} bytes of memory"
    except Exception:
        return ""  # the very words of it are transformers' to say
    return ""


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    limit(asked["seconds"], asked["memory"])
    print(rendered(asked))
