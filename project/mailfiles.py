"""Mails as files that can be opened: each as .eml for a mail program, its HTML part as .html for a browser."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend


class EmailBackend(BaseEmailBackend):
    """Writes into the folder `file_path`, which it creates; it never overwrites a file."""

    def __init__(self, file_path: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        # A setting before Django 6.1.
        self.folder = Path(file_path or str(getattr(settings, "EMAIL_FILE_PATH", "var/mail")))

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        for message in email_messages:
            eml = self._new_file(message)
            eml.write_bytes(message.message().as_bytes())
            for content, mimetype in getattr(message, "alternatives", []):
                if mimetype == "text/html":
                    eml.with_suffix(".html").write_text(content, encoding="utf-8")
        return len(email_messages)

    def _new_file(self, message: EmailMessage) -> Path:
        words = re.sub(r"[^\w]+", "-", str(message.subject), flags=re.ASCII).strip("-")[:60]
        moment = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        for number in count(1):
            path = self.folder / f"{moment}-{number}-{words}.eml"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                continue
            return path
        raise AssertionError("count() does not end")
