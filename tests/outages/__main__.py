"""Makes outages, all at the same time, prints what was lost and late, and ends with 1 if it was more than expected."""

import argparse
import subprocess
import sys

from tests.outages.sites import SITES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.outages", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SITES)}; none: all")
    parser.add_argument("--here", choices=SITES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        return _here(arguments.here)
    if unknown := set(arguments.names) - SITES.keys():
        parser.error(f"there is no outage {', '.join(sorted(unknown))}; there are {', '.join(SITES)}")
    commands = [
        [*SITES[name].inside(), sys.executable, "-m", "tests.outages", "--here", name]
        for name in arguments.names or SITES
    ]
    # Each in a process of its own, since a process has one database and one queue.
    running = [subprocess.Popen(command) for command in commands]
    failed = sum(process.wait() != 0 for process in running)
    print(f"{len(running) - failed} outages as expected, {failed} not")
    return 1 if failed else 0


def _here(name: str) -> int:
    from tests.outages.experiment import experiment

    return experiment(SITES[name])


if __name__ == "__main__":
    sys.exit(main())
