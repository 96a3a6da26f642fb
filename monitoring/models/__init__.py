from monitoring.models.alert import Alert, Delivery, Message
from monitoring.models.background_task import BackgroundTask
from monitoring.models.database import database_alias, database_now
from monitoring.models.heartbeat import Heartbeat
from monitoring.models.incident import Incident
from monitoring.models.monitor import DependentTask, Monitor, MonitorState, Repeat
from monitoring.models.outage import Outage

__all__ = [
    "Alert",
    "BackgroundTask",
    "Delivery",
    "DependentTask",
    "Heartbeat",
    "Incident",
    "Message",
    "Monitor",
    "MonitorState",
    "Outage",
    "Repeat",
    "database_alias",
    "database_now",
]
