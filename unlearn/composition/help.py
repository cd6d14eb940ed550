"""The list of groups in `unlearn --help`, without the schemas that only we compose with."""

from __future__ import annotations

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

HIDDEN = ("schema",)
OF_HYDRA = ("hydra/launcher", "hydra/sweeper", "hydra/sweeper/sampler")
"""The groups of Hydra's own that a sweep is chosen by; the others are its inside."""


def config_groups() -> str:
    """Return one line a group with its choices, the user's own (--config-dir) included."""
    loader = GlobalHydra.instance().config_loader()

    def lines(parent: str) -> list[str]:
        found = []
        for name in sorted(loader.list_groups(parent)):
            group = f"{parent}/{name}" if parent else name
            if group in HIDDEN or (parent.startswith("hydra") and group not in OF_HYDRA):
                continue
            choices = loader.get_group_options(group, ObjectType.CONFIG)
            if choices and group != "hydra":
                found.append(f"{group}: {', '.join(sorted(choices))}")
            found += lines(group)
        return found

    return "\n".join(lines(""))
