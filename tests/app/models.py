"""Context models with each kind of key."""

import uuid

from django.db import models


class Customer(models.Model):
    """An integer key, and no field that could be a type."""


class Shipment(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    carrier = models.CharField(max_length=50, default="sea")


class Warehouse(models.Model):
    code = models.CharField(max_length=50, primary_key=True)
    kind = models.CharField(max_length=50, default="cold")


class BondedWarehouse(Warehouse):
    """Its key is its parent's, and the type field is in the parent's table."""


class Closing(models.Model):
    day = models.DateField(primary_key=True)
    kind = models.CharField(max_length=50, default="quarter")
