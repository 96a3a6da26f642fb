from django.db import models

from monitoring.models.incident import Incident
from monitoring.values.facts import AlertKind
from monitoring.values.text import NAME_MAX


class Message(models.Model):
    """One mail to one address, carrying one delivery or many. Its text is frozen before the first attempt.

    Pending while `sent_at` and `gave_up_at` are empty. A sender claims it by setting `leased_until`; if the sender
    dies, it becomes due again. What the mail provider reports afterwards is noted in `deferred_at` to `complained_at`;
    `provider_said` is what it said with the newest of these.
    """

    address = models.EmailField(max_length=320)
    subject = models.TextField()
    text = models.TextField()
    html = models.TextField()
    thread = models.CharField(
        max_length=998, blank=True, default="", db_default="", help_text="what all mails of one incident refer to"
    )
    created_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField()
    retry_until = models.DateTimeField(null=True, blank=True, help_text="empty: for a day after it was written")
    leased_until = models.DateTimeField(null=True, blank=True, help_text="until then one sender has it to itself")
    sent_at = models.DateTimeField(null=True, blank=True)
    gave_up_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="", db_default="", help_text="what the last failed attempt said")
    provider_id = models.CharField(max_length=998, blank=True, default="", db_default="")
    deferred_at = models.DateTimeField(null=True, blank=True, help_text="the address's server put it off")
    delivered_at = models.DateTimeField(null=True, blank=True, help_text="the address's server took it")
    bounced_at = models.DateTimeField(null=True, blank=True, help_text="the address's server sent it back")
    rejected_at = models.DateTimeField(null=True, blank=True, help_text="the provider would not send it")
    complained_at = models.DateTimeField(null=True, blank=True, help_text="its reader called it spam")
    provider_said = models.TextField(blank=True, default="", db_default="", help_text="with the newest of these")

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(sent_at=None, gave_up_at=None),
                name="monitoring_message_pending",
            ),
            models.Index(
                fields=["gave_up_at"], condition=models.Q(gave_up_at__isnull=False), name="monitoring_message_given_up"
            ),
            models.Index(
                fields=["bounced_at"], condition=models.Q(bounced_at__isnull=False), name="monitoring_message_bounced"
            ),
            models.Index(
                fields=["rejected_at"],
                condition=models.Q(rejected_at__isnull=False),
                name="monitoring_message_rejected",
            ),
            models.Index(fields=["address", "id"], name="monitoring_message_newest"),
            models.Index(
                fields=["provider_id"], condition=~models.Q(provider_id=""), name="monitoring_message_provider"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} → {self.address}"


class Alert(models.Model):
    """Something to tell people, as facts; mails are rendered from them later. Without deliveries it reached nobody."""

    kind = models.CharField(max_length=20, choices=AlertKind.choices)
    task_name = models.CharField(max_length=NAME_MAX)
    facts = models.JSONField()
    created_at = models.DateTimeField()
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="alerts", help_text="none: from a configuration"
    )

    def __str__(self) -> str:
        return f"{self.task_name}: {self.get_kind_display()}"


class Delivery(models.Model):
    """The promise that an alert reaches an address; `message` is the mail that carries it, once there is one."""

    # No index of its own: that of the unique constraint below begins with this column.
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="deliveries", db_index=False)
    address = models.EmailField(max_length=320)
    # PROTECT: without its message a delivery would look as if it still had to be sent.
    message = models.ForeignKey(Message, models.PROTECT, null=True, blank=True, related_name="deliveries")

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["alert", "address"], name="monitoring_alert_reaches_address_once")
        ]
        indexes = [
            models.Index(fields=["address"], condition=models.Q(message=None), name="monitoring_delivery_pending")
        ]

    def __str__(self) -> str:
        return f"{self.alert} → {self.address}"
