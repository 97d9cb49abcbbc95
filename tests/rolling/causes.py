"""Why clients saw errors, by the balancer's own account of the requests that failed.

HAProxy says of each request who ended it and in which phase; that, whether a connection was ever
made, and whether the node itself wrote the status, tell the causes apart.
"""

from collections import Counter
from collections.abc import Iterable

MARK = "request"
NO_REQUEST = "<BADREQ>"
LOG_FORMAT = f"{MARK} %ST %ts %HM %s %rc %Tc %Tr"

BROKEN = "passed on, broken before an answer (a POST is not repeated)"
CUT = "cut within its answer"
REFUSED = "refused between stop and start"
LATE = "no answer within the client's 3 s"
NOWHERE = "no node up for the balancer"
BY_NODE = "answered so by the node"
CAUSES = {"SH": BROKEN, "SD": CUT, "SC": REFUSED, "sC": REFUSED, "SQ": NOWHERE}


def explain(log: Iterable[str]) -> Counter[str]:
    """The causes of the requests that failed, as HAProxy logged them in ``LOG_FORMAT``."""
    causes: Counter[str] = Counter()
    for line in log:
        words = line.split()
        # Without a method somebody only looked whether the balancer listens.
        if not words or words[0] != MARK or words[3] == NO_REQUEST:
            continue
        status, ended, method, _, retries, connected_ms, answered_ms = words[1:]
        # CD: the client had all of the answer and closed before HAProxy saw the server's end of it.
        if ended in ("--", "CD"):
            if int(status) >= 500:
                causes[f"{status} {BY_NODE}"] += 1
        elif ended[0] in "Cc":
            causes[LATE] += 1
        elif cause := CAUSES.get(ended):
            causes[cause] += 1
        else:
            causes[
                f"{method} {status} ended {ended}, {retries} retries, "
                f"connected in {connected_ms} ms, answered in {answered_ms} ms"
            ] += 1
    return causes
