"""Pages of the repository as the site's renderer needs them."""

from pathlib import Path

import pytest

from tools.site.markdown import anchor, for_the_site, place, source_page, targets


@pytest.mark.parametrize(("path", "there"), [
    ("README.md", "README.md"), ("docs", "README.md"), ("docs/README.md", "README.md"),
    ("docs/store.md", "store.md"), ("docs/frameworks", "frameworks/README.md"),
    ("docs/images/demo.svg", "images/demo.svg"), ("SECURITY.md", "SECURITY.md"),
    ("examples/flask_app/app.py", "source/examples/flask_app/app.py.md"),
])
def test_where_a_file_is(path: str, there: str) -> None:
    assert place(path) == there


@pytest.mark.parametrize(("path", "link", "rewritten"), [
    ("docs/store.md", "sessions.md#users", "sessions.md#users"),
    ("docs/operations/run.md", "../../README.md", "../README.md"),
    ("docs/operations/run.md", "../../SECURITY.md#keys", "../SECURITY.md#keys"),
    ("docs/operations/run.md", "../../examples/x.py", "../source/examples/x.py.md"),
    ("SECURITY.md", "docs/protocol.md", "protocol.md"),
    ("docs/store.md", "#below", "#below"),
    ("docs/store.md", "https://example.org/x.md", "https://example.org/x.md"),
])
def test_links_lead_where_they_led(path: str, link: str, rewritten: str) -> None:
    assert for_the_site(f"See [it]({link}).\n", path) == f"See [it]({rewritten}).\n"


def test_code_is_left_alone() -> None:
    text = "```text\n[it](../../README.md)\na\n* b\n```\n"
    assert for_the_site(text, "docs/operations/run.md") == text
    assert not [*targets(text, "docs/operations/run.md")]


def test_blocks_of_an_item_stay_in_it() -> None:
    text = "1. **First.**\n\n   ```console\n   $ ls\n   ```\n\n2. Then.\n\nText\n   as it is.\n"
    shown = for_the_site(text, "docs/x.md")
    assert shown == (
        "1. **First.**\n\n    ```console\n    $ ls\n    ```\n\n2. Then.\n\nText\n   as it is.\n"
    )


def test_a_list_begins_after_an_empty_line() -> None:
    assert for_the_site("These:\n* a\n* b\n", "docs/x.md") == "These:\n\n* a\n* b\n"
    text = "* a\n  goes on\n* b\n"
    assert for_the_site(text, "docs/x.md") == text


def test_an_item_after_a_block_of_the_one_before_is_an_item() -> None:
    text = "1. First:\n\n   | a |\n\n   more\n2. Then.\n"
    assert for_the_site(text, "docs/x.md") == "1. First:\n\n    | a |\n\n    more\n\n2. Then.\n"


def test_a_number_at_the_beginning_of_a_line_is_no_item() -> None:
    text = "The balancer answers\n502. The next request finds it.\n"
    assert for_the_site(text, "docs/x.md") == text


def test_anchors_are_the_repositorys() -> None:
    assert anchor("Apache httpd: `mod_jk` over AJP13") == "apache-httpd-mod_jk-over-ajp13"


def test_a_file_and_a_folder_are_shown(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x = 1\n")
    assert "~~~~python\nx = 1\n" in source_page(tmp_path / "app.py", "examples/app.py")
    assert "* `app.py`" in source_page(tmp_path, "examples")
