from django.apps import AppConfig

from tests.faults.statements import install


class FaultsConfig(AppConfig):
    name = "tests.faults"

    def ready(self) -> None:
        install()
