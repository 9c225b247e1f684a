"""A real headless Chromium; its tests are skipped where there is none."""

import os
import shutil

import pytest

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")  # while it is open an event loop runs, which other tests must not meet
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the page's tests need the package playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("the page's tests need Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=ARGUMENTS, env={**os.environ, "TZ": "UTC"})
        yield opened
        opened.close()


@pytest.fixture
def look(browser):
    """`look(path, **context)`: the page open in a context of its own; what went wrong in it fails the test."""
    contexts, errors, asked = [], [], []

    def open_page(path, **context):
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{path}")
        page.wait_for_selector(".card")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
