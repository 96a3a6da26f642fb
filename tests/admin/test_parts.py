"""What several pages are made of."""

import pytest

from monitoring.admin.parts import breakable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data_collection", "data_<wbr>collection"),
        ("orders.tasks.knead", "orders.<wbr>tasks.<wbr>knead"),
        ("ops@example.com", "ops@<wbr>example.com"),
        ("ConnectionRefusedError: <b>", "Connection<wbr>Refused<wbr>Error: &lt;b&gt;"),
        ("Ends so.", "Ends so."),
        ("", ""),
    ],
)
def test_what_is_long_breaks_between_its_words(text: str, shown: str) -> None:
    assert breakable(text) == shown
