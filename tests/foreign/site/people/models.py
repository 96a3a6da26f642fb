from django.contrib.auth.models import AbstractBaseUser, AbstractUser, BaseUserManager
from django.db import models


class Person(AbstractUser):
    """An ordinary custom user."""


class Account(AbstractBaseUser):
    """One without is_superuser, is_active or groups as fields; whoever is staff may do all."""

    mail_address = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)

    USERNAME_FIELD = EMAIL_FIELD = "mail_address"
    objects = BaseUserManager()
