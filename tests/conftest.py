"""For all tests: Hypothesis judges what a test finds, and not how fast this machine is just now.

And their sessions are where the settings say, with the peers that these name: they test that.
"""

import gc

from hypothesis import settings

from clustersession.worker.run_of_tests import let_settings_decide

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

let_settings_decide()


def pytest_collection_finish() -> None:
    """Keep what stays to the end, half a million objects, out of every later collection.

    Many tests collect garbage to see what was forgotten. It took 0.29 s each time, 2 µs without.
    """
    gc.collect()
    gc.freeze()
