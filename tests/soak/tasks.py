"""What is watched: tasks of as many names, which do as they are told."""

from huey.contrib.djhuey import task

NAMES = [f"soak_{number:02}" for number in range(50)]


def work(context: str, fails: bool) -> None:
    if fails:
        raise ValueError(f"there is nothing in {context}")


TASKS = {name: task(name=name)(work) for name in NAMES}
