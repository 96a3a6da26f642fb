"""What a reader sees of a mail."""

import html
import re


def rows_of_html(source: str) -> list[tuple[str, str]]:
    """The labels and values in the tables of facts."""
    cells = re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", source, re.DOTALL)
    return [(html.unescape(label), html.unescape(re.sub(r"</?span[^>]*>", "", value))) for label, value in cells]


def words_of_html(source: str) -> str:
    """What a reader sees, tags and white space taken out."""
    body = re.sub(r"<head>.*</head>", "", source, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def element(source: str, pattern: str) -> str:
    found = re.search(pattern, source, re.DOTALL)
    assert found, f"{pattern} is not in the mail"
    return found[0]


def lines_of_text(source: str) -> list[str]:
    """What a reader sees, line by line, without what only lays it out."""
    source = source.replace("Last runs: oldest", "Last runs\noldest").replace(" – ", " ")
    lines = (" ".join(re.sub(r"^\s*[-*] ", "", line).split()) for line in source.splitlines())
    return [line for line in lines if line]


def lines_of_html(source: str) -> list[str]:
    """The same of an HTML part, without its header and the preview line."""
    source = re.split('<div class="content"[^>]*>', source)[1]
    for pattern, replacement in (
        (r'(?: · )?<a href="([^"]*)"[^>]*>(?!https)(.*?)</a>', r"\n\2: \1\n"),
        (r"</th>\s*<td[^>]*>", ": "),
        (r"(</tr>|<br>|</h3>)", "\n"),
        (r"</t[dh]>", " "),
        (r"<[^>]*>", ""),
    ):
        source = re.sub(pattern, replacement, source)
    lines = (" ".join(line.split()) for line in html.unescape(source).splitlines())
    return [line.removeprefix("⚠️ ") for line in lines if line]
