"""Every mail as a browser shows it: on a phone's width, light and dark, with nothing fetched."""

import pytest
from playwright.sync_api import Browser

from tests import mailshots

READABLE = 4.5  # the contrast that WCAG 2 asks of text

# The lowest contrast of any text on the page with what is behind it, and that text.
LOWEST_CONTRAST = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = parse(color).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if ((parse(color)[3] ?? 1) > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  let lowest = [21, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.offsetParent || ['STYLE', 'TITLE'].includes(element.tagName)) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, node.textContent.trim()];
  }
  return lowest;
}"""

MAILS = mailshots.mails()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", MAILS)
def test_a_mail_can_be_read_on_a_phone_in_the_dark(browser: Browser, name: str, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.set_content(MAILS[name].html)
    assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    contrast, text = page.evaluate(LOWEST_CONTRAST)
    assert contrast >= READABLE, text
    assert fetched == []
    page.close()
