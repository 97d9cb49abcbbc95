"""Reading the cookie header."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.requests.cookie import VALUES_MAX, cookie_values


def test_all_values_of_the_name_in_order() -> None:
    header = "a=1; S=one.x; XS=no; S=two.y;S = odd; S=three"
    assert cookie_values(header, "S") == ["one.x", "two.y", "three"]
    assert cookie_values("", "S") == []
    assert cookie_values("s=1; SS=2", "S") == []


@given(st.text())
def test_any_header_is_read_without_error(header: str) -> None:
    assert len(cookie_values(header + "; S=1" * 20, "S")) <= VALUES_MAX
