"""The tables of Tomcat's attributes: every row, and what texts are turned into."""

import pytest

from clustersession.settings.settings import setting_names
from clustersession.tools.tomcat.importing import TABLE
from clustersession.tools.tomcat.rows import Fate, send_options
from tests.support import tomcat_page


def test_every_row_of_the_table_says_something() -> None:
    for component, rows in TABLE.items():
        for attribute, row in rows.items():
            if row.fate is Fate.MAPPED:
                assert row.setting in setting_names(), (component, attribute)
            else:
                assert row.words, (component, attribute)


def test_the_page_is_made_from_the_table() -> None:
    assert tomcat_page.PAGE.read_text().partition(tomcat_page.MARK)[2].strip() \
        == tomcat_page.tables().strip()


@pytest.mark.parametrize(
    ("text", "ack"),
    [("8", "one"), ("6", "all"), ("2", "all"), ("10", "one"), ("0", "one"), ("0x6", "all"),
     ("use_ack,sync", "all"), ("async", "one")],
)
def test_send_options_are_numbers_or_names(text: str, ack: str) -> None:
    assert send_options(text) == ack
