"""The console as it is served; what it does in a browser is in ``tests/e2e/test_console.py``."""

import json
import re
import shutil

import pytest

from chalicelib.config import load_settings
from chalicelib.orders.tokens import TOKENS
from chalicelib.streaming.viewers import MOST_ORDERS
from chalicelib.web import console_page
from chalicelib.web.console_page import FOLDER, STYLESHEETS, assets, console_asset
from chalicelib.web.console_page import console_page as page_of
from chalicelib.web.problems import RequestError

ISSUER = "https://tenant.example.com/realm/"
TOKENS_TAKEN = {
    "AUTH_MODE": "jwt",
    "AUTH_ISSUER": ISSUER,
    "AUTH_AUDIENCE": "engine,another",
    "CONSOLE_CLIENT_ID": "console",
    "CONSOLE_SCOPES": "openid trade",
}
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.js"))


def page(path="/", query=None, **environment):
    return page_of(load_settings(environment), path, query or {})


def policy(**environment):
    directives = page(**environment).headers["Content-Security-Policy"].split("; ")
    return {name: sources.split() for name, sources in (directive.split(" ", 1) for directive in directives)}


def told(**environment):
    (block,) = re.findall(r'<script type="application/json" id="settings">(.*?)</script>', html(**environment))
    return json.loads(block)


def html(**environment):
    return page(**environment).body.decode()


# --- The page ---


def test_the_page_is_never_kept_and_names_its_files_by_their_version():
    answer = page()
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', answer.body.decode())

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Cache-Control" not in answer.headers  # every answer's own forbids it
    assert {address.rpartition("/")[0] for address in addresses} == {f"console/{assets().version}"}
    for address in addresses:
        assert console_asset(*address.split("/")[1:]).body


def test_a_first_visit_loads_one_script_one_sheet_and_the_icon():
    assert sorted(re.findall(r'(?:href|src)="console/\w+/([\w.]+)"', html())) == [
        "console.css",
        "console.js",
        "icon.svg",
    ]


def test_the_script_holds_every_module_once_each_after_those_that_it_needs():
    names = re.findall(r'^modules\["([\w.]+)"\] = ', assets().files["console.js"], re.MULTILINE)
    needed = {
        name: re.findall(r'^import .* from "\./([\w.]+)"', (FOLDER / name).read_text(), re.MULTILINE)
        for name in SCRIPTS
    }

    assert sorted([*names, "main.js"]) == SCRIPTS
    assert all(names.index(source) < names.index(name) for name in names for source in needed[name])
    assert not re.findall(r"^(?:import|export)\b", assets().files["console.js"], re.MULTILINE)


def test_the_sheet_holds_the_styles_in_their_order():
    styles = [(FOLDER / name).read_text() for name in STYLESHEETS]

    assert assets().files["console.css"] == "\n".join(styles)
    assert {path.name for path in FOLDER.glob("*.css")} == set(STYLESHEETS)


def test_nothing_in_the_page_needs_more_than_its_policy_allows():
    without_data = re.sub(r'<script type="application/json".*?</script>', "", html())

    assert not re.findall(
        r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|(?:href|src|action)=\"(?:https?:)?//", without_data
    )
    for name in SCRIPTS:
        script = (FOLDER / name).read_text()
        assert not re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\.style\b", script
        )


def test_the_page_may_run_its_own_files_and_speak_with_the_engine_only():
    assert policy(WEBSOCKET_URL="wss://trade.example.com/ws") == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'", "wss://trade.example.com"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


def test_where_tokens_are_taken_the_page_may_also_speak_with_their_issuer():
    assert policy(**TOKENS_TAKEN)["connect-src"][2:] == ["https://tenant.example.com"]
    elsewhere = policy(**TOKENS_TAKEN, CONSOLE_TOKEN_ORIGIN="https://login.example.com")
    assert elsewhere["connect-src"][2:] == ["https://tenant.example.com", "https://login.example.com"]


def test_the_page_is_told_what_it_needs_of_an_open_engine():
    assert told(WEBSOCKET_URL="wss://trade.example.com/ws") == {
        "authMode": "open",
        "webSocketUrl": "wss://trade.example.com/ws",
        "subscriptions": MOST_ORDERS,
        "tokens": {symbol: token.decimals for symbol, token in TOKENS.items()},
        "signIn": None,
    }


def test_the_page_is_told_how_to_sign_in():
    assert told(**TOKENS_TAKEN)["signIn"] == {
        "issuer": ISSUER,
        "clientId": "console",
        "scopes": "openid trade",
        "audience": "engine",
    }


def test_no_secret_stands_in_the_page():
    secrets = {
        "DATABASE_URL": "postgresql://user:pass-of-postgres@localhost/orders",
        "REDIS_URL": "redis://:pass-of-redis@localhost:6379/0",
        "LAUNCH_WEBHOOK_SECRET": "key-of-launches",
    }
    text = html(**TOKENS_TAKEN, **secrets)

    assert not re.findall("pass-of|key-of", text)


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "$version ${settings}"])
def test_no_setting_ends_the_element_that_it_stands_in(text):
    settings = {**TOKENS_TAKEN, "CONSOLE_CLIENT_ID": text}

    assert told(**settings)["signIn"]["clientId"] == text
    assert html(**settings).count("<script") == html().count("<script")


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/api", {}, "api/"),
        ("/a/deeper/stage", {}, "stage/"),
        ("/api", {"code": "a b&c", "state": "x"}, "api/?code=a+b%26c&state=x"),
    ],
)
def test_an_address_without_its_slash_is_put_right_relative_to_itself(path, query, location):
    answer = page(path, query)

    assert (answer.status, answer.headers, answer.body) == (308, {"Location": location}, b"")


@pytest.mark.parametrize("path", ["/", "/api/", "/a/deeper/stage/"])
def test_an_address_with_its_slash_is_the_page(path):
    assert page(path, {"code": "x"}).status == 200


# --- Its files ---


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("main.js", "text/javascript"), ("theme.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_a_file_may_be_kept_for_good_and_says_what_it_is(name, media_type):
    answer = console_asset(assets().version, name)

    assert answer.body == (FOLDER / name).read_bytes()
    assert answer.headers == {
        "Content-Type": f"{media_type}; charset=utf-8",
        "Cache-Control": "public, max-age=31536000, immutable",
    }


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "../console_page.py", "..%2Fconfig.py", "", "MAIN.JS"])
def test_no_other_file_is_served(name):
    with pytest.raises(RequestError) as refused:
        console_asset(assets().version, name)

    assert refused.value.status == 404


@pytest.mark.parametrize("version", ["", "0" * 16, "latest"])
def test_a_file_of_another_version_is_not_found(version):
    with pytest.raises(RequestError) as refused:
        console_asset(version, "main.js")

    assert refused.value.status == 404
    assert "Cache-Control" not in refused.value.headers


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the files, which a test may change."""
    folder = tmp_path / "console"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(console_page, "FOLDER", folder)
    yield folder
    assets.cache_clear()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "main.js").write_text("// nothing"),
        lambda folder: (folder / "icon.svg").unlink(),
        lambda folder: (folder / "icon.svg").rename(folder / "mark.svg"),
        lambda folder: (folder / "more.js").write_text(""),
    ],
    ids=["changed", "gone", "renamed", "new"],
)
def test_another_file_makes_another_version(copied, change):
    before = assets.__wrapped__().version

    change(copied)

    assert re.fullmatch("[0-9a-f]{16}", before)
    assert assets.__wrapped__().version != before


def test_the_version_of_the_same_files_is_the_same_wherever_they_are(copied):
    assert assets.__wrapped__().version == assets().version
