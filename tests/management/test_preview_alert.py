import io
import json
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from monitoring.management.commands.preview_alert import KINDS
from monitoring.models import Alert, Delivery, Message

pytestmark = pytest.mark.django_db


def preview(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("preview_alert", *args, stdout=out, **options)
    return out.getvalue()


def test_by_default_each_kind_is_shown_as_text_and_nothing_is_stored_or_sent() -> None:
    out = preview()
    assert out.count("Subject: ") == len(KINDS) == 5
    assert "[ALERT] data_collection Status Check Failed" in out
    assert "[ALERT] data_collection Has Not Executed" in out
    assert "[ALERT] data_collection Could Not Be Checked" in out
    assert "[RESOLVED] data_collection Is As Expected Again" in out
    assert "[ALERT] 3 Task Checks Failed" in out
    assert [model.objects.count() for model in (Alert, Delivery, Message)] == [0, 0, 0]
    assert mail.outbox == []


def test_html_is_the_mail_as_a_browser_shows_it() -> None:
    assert preview("--kind=not-executed", "--format=html").lstrip().startswith("<!DOCTYPE html>")


def test_eml_is_a_whole_mail() -> None:
    message = message_from_string(preview("--kind=mismatch", "--format=eml"), policy=policy.default)
    assert message["Subject"] == "[ALERT] data_collection Status Check Failed"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_json_holds_the_parts() -> None:
    assert json.loads(preview("--kind=mismatch", "--format=json")).keys() == {"subject", "text", "html"}


def test_out_writes_one_file_a_mail(tmp_path: Path) -> None:
    preview("--format=html", out=tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {f"{kind}.html" for kind in KINDS}


def test_to_sends_to_that_address_alone_and_owes_nothing() -> None:
    preview("--kind=mismatch", to="me@example.com")
    assert [message.to for message in mail.outbox] == [["me@example.com"]]
    assert (Alert.objects.count(), Message.objects.count()) == (0, 0)


@pytest.mark.parametrize("option", ["--to=nobody", "--kind=unknown", "--out=/dev/null/x"])
def test_what_cannot_be_done_ends_with_3(option: str) -> None:
    with pytest.raises(CommandError) as caught:
        preview(option)
    assert caught.value.returncode == 3
