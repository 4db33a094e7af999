"""Who belongs to a group of processes, by /proc."""

from pathlib import Path


def living(group: int) -> list[int]:
    """The pids of the process group that have not ended; zombies have."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(after_name[2]) == group and after_name[0] not in {"Z", "X"}:
            pids.append(int(stat.parent.name))
    return pids
