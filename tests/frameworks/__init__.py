"""The frameworks' own session tests, out of their published source packages, against our sessions.

    make frameworks                     all of them
    make frameworks ARGS="flask quart"  some of them
    make frameworks ARGS=--fetch        only download

Nothing of theirs is in this repository. The source package and the framework it belongs to are
downloaded with pip into a cache (``FRAMEWORKS_CACHE``, by default
``~/.cache/clustersession/frameworks``), once; afterwards no network is needed. Each framework's
tests run in a process of their own, with the version of the framework that they belong to.

To add a framework, write two files:

* ``tests/frameworks/<name>.toml``::

      source = "flask==3.1.3"            # whose tests: the sdist that pip downloads
      requirements = ["flask==3.1.3"]    # what they need beside pytest and clustersession
      plugin = "ours_in_flask"           # a module in tests/frameworks/plugins
      tests = ["tests/test_basic.py"]    # pytest's arguments, relative to the sdist
      keyword = "session or flash"       # pytest's -k, optional
      python = "3.12"                    # the oldest Python that they need, if ours may be older
      passed = 12                        # how many pass: one that vanishes is noticed

      [[differences]]                    # one for each test that fails, and no other may
      test = "tests/test_basic.py::test_missing_session"
      why = "a reason a user would accept"
      documented = "docs/frameworks/flask.md"    # for a difference we chose: where users read it

* ``tests/frameworks/plugins/<plugin>.py``, a pytest plugin that puts our sessions in the place of
  the framework's. It must not be imported as ``tests...``: sdists have a ``tests`` of their own.
  Environment and state directory are prepared as by ``prepare`` in ``run.py``.

The run fails on a test that fails without a reason here, on a reason whose test passes, on a
reason that is empty, and on a number that does not agree. Each test that passes is checked for
whether our sessions were opened in it (``plugins/ours_opened.py``); the report gives both numbers.
"""
