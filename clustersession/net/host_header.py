"""Reads a request's Host header, and says whether a foreign site may have bound its name to us.

A page can point its own domain at any address and then read what answers there in its visitor's
browser (DNS rebinding). It cannot name itself by an address or by a name without a dot, because no
site on the internet is called so.
"""

import re
from collections.abc import Collection

from clustersession.core.identity import is_ip_address

# RFC 9110, section 7.2, without user information and without what no name of ours holds.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+))(?::[0-9]{1,5})?")


def host_name(host: str) -> str:
    """Read the name in a Host header, without the port; empty for what is no host and port."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found[1] or found[2]).lower()


def may_be_of_a_foreign_site(host: str, own_names: Collection[str]) -> bool:
    """Tell whether a page of the internet may be behind a Host header.

    ``own_names``: names with dots, in lower case, that are known to be ours.
    """
    name = host_name(host).rstrip(".")
    return not name or ("." in name and name not in own_names and not is_ip_address(name))


__all__ = ["host_name", "may_be_of_a_foreign_site"]
