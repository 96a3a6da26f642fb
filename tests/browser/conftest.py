import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from playwright.sync_api import Browser, Page, sync_playwright

from tests.services import BROWSER

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium. Playwright's loop makes Django believe that all else is asynchronous, which it is not."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(BROWSER.path()), args=ARGUMENTS)
        yield browser
        browser.close()
        # Those that were opened under its loop are not seen any more once it ends: one would keep the test database.
        connections.close_all()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(browser: Browser, live_server: Any) -> Iterator[Page]:
    """A page of the site; whatever the browser complains of, blocked by the content policy or not, fails the test."""
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def log_in(page: Page, url: str = "/admin/") -> None:
    """As `admin_user`, on the way to this page."""
    page.goto(url)
    page.fill("#id_username", "admin")
    page.fill("#id_password", "password")
    page.click("input[type=submit]")


@pytest.fixture
def logged_in(page: Page, admin_user: Any) -> Page:
    log_in(page)
    page.wait_for_url("/admin/")
    return page


# Of Django's templates, each with what is wrong there; what we write inside or beside them is looked at.
DJANGOS_OWN = {
    ".breadcrumbs > a": "links in a line of text are told from it by their colour alone",
    "#searchbar": "its label is a picture",
    ".tabular th.original": "the heading of an inline's first column is empty",
    ".tabular td.delete": "the box that deletes a row has no label but its column's heading",
}


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """What axe-core finds wrong on a page as it stands, a line for each element."""

    def found_on(page: Page) -> list[str]:
        # Preloading would write styles into the page, of which the browser complains under our content policy.
        context = {"exclude": [[selector] for selector in DJANGOS_OWN]}
        options = {"preload": False, "resultTypes": ["violations"]}
        violations = Axe().run(page, context, options).response["violations"]
        return [
            f"{violation['id']} ({violation['help']}): {node['target'][-1]} {node['html'][:200]}"
            for violation in violations
            for node in violation["nodes"]
        ]

    return found_on
