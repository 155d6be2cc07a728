"""The page ``/docs`` stands on this machine alone."""

from __future__ import annotations

import re

import httpx
import pytest

NAMED = re.compile(r'(?:href|src)="([^"]*)"')
SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<text>.*?)</script>", re.DOTALL)


async def test_the_page_names_no_other_host_and_what_it_names_is_served(client: httpx.AsyncClient) -> None:
    """Offline it is as it is online; behind a prefix, too."""
    page = await client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "//" not in page.text
    named = [name for name in NAMED.findall(page.text) if not name.startswith("data:")]
    assert len(named) == 3
    for name in named:
        assert not name.startswith("/")
        answer = await client.get(str(page.url.join(name)))
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] in {"text/css", "text/javascript"}
        assert answer.content


async def test_the_script_that_fills_the_page_asks_for_the_openapi_document(client: httpx.AsyncClient) -> None:
    """And has nobody else look at it."""
    start = (await client.get("/docs/start.js")).text
    assert "//" not in start
    assert "validatorUrl: null" in start
    name = re.search(r'url: "([^"]*)"', start)
    assert name is not None
    assert (await client.get(str((await client.get("/docs")).url.join(name[1])))).json()["openapi"]


async def test_the_browser_is_told_to_run_the_gateways_own_scripts_alone(client: httpx.AsyncClient) -> None:
    """None stands in the page itself, where the policy would not let it run."""
    page = await client.get("/docs")
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert [text for _, text in SCRIPT.findall(page.text) if text.strip()] == []


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/redoc.standalone.js", "/docs/../static"])
async def test_there_is_no_other_page(client: httpx.AsyncClient, path: str) -> None:
    """What is not named is not served."""
    assert (await client.get(path)).status_code == 404
