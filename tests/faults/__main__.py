"""Runs experiments, prints what they found as a table, and ends with status 1 if an expectation failed."""

import argparse
import os
import subprocess
import sys
import time
import traceback

KILLS = 200
SEED = 20_261_124


def main() -> int:
    arguments = _arguments()
    if arguments.world == "both" and not arguments.list:
        return _both()
    os.environ.update(TEST_WITH="sqlite" if arguments.list else arguments.world, LOG_LEVEL="ERROR")
    from tests import early  # makes the environment, and starts the servers, that Django's settings are read from

    try:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.faults.settings"
        import django

        django.setup()
        return _list() if arguments.list else _run(arguments)
    finally:
        early.pytest_unconfigure()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments; none: all")
    parser.add_argument("--list", action="store_true", help="says what there is")
    parser.add_argument(
        "--with",
        dest="world",
        choices=["sqlite", "servers", "both"],
        default="both",
        help="SQLite and Huey on SQLite, PostgreSQL and Huey on Redis, or both at the same time",
    )
    parser.add_argument("--kills", type=int, default=KILLS, help=f"of at-random-moments; default {KILLS}")
    parser.add_argument("--seed", type=int, default=SEED, help="of its random moments")
    return parser.parse_args()


def _both() -> int:
    """Side by side, since most of their time they wait."""
    running = [
        subprocess.Popen([sys.executable, "-m", "tests.faults", *sys.argv[1:], "--with", world])
        for world in ("sqlite", "servers")
    ]
    return max(process.wait() for process in running)


def _list() -> int:
    from tests.faults.experiments import EXPERIMENTS

    for name, experiment in EXPERIMENTS.items():
        print(f"{name:26}{(experiment.__doc__ or '').splitlines()[0]}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from django.core.management import call_command
    from django.db import connections

    from tests.faults.experiments import EXPERIMENTS
    from tests.faults.report import Case, table
    from tests.faults.world import World
    from tests.smtp import mail_server

    if unknown := set(arguments.names) - EXPERIMENTS.keys():
        print(f"There is no experiment {', '.join(sorted(unknown))}; --list says what there is", file=sys.stderr)
        return 1
    call_command("migrate", verbosity=0)
    cases: list[Case] = []
    began = time.monotonic()
    with mail_server() as mail:
        world = World(mail, arguments.kills, arguments.seed)
        for name in arguments.names or EXPERIMENTS:
            world.reset()
            try:
                for case in EXPERIMENTS[name](world):
                    cases.append(case)
                    print(f"[{arguments.world}] {name}: {case.done}: {case.verdict}", flush=True)
            except Exception as error:
                print(f"[{arguments.world}] {name}: FAILED\n{traceback.format_exc()}", flush=True)
                cases.append(Case(name, failures=[f"it could not be done: {error}"]))
    connections.close_all()  # PostgreSQL would wait for this one before it ends
    failed = sum(bool(case.failures) for case in cases)
    print(
        f"\n{arguments.world}, {time.monotonic() - began:.0f} s: {len(cases) - failed} cases passed, {failed} failed\n",
        f"{table(cases)}\n",
        sep="\n",
        flush=True,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
