from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "project.demo"
    label = "gap"
    verbose_name = "Demo"
