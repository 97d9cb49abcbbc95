"""A report is a line for each check, the level first, and tells whether anything will not work."""

from clustersession.tools.check.report import as_text, has_problem, ok, problem, warning


def test_warnings_do_not_fail_a_deployment_and_problems_do() -> None:
    fine = [ok("space", "10 GiB are free"), warning("clock", "2 s behind")]
    assert not has_problem(fine)
    assert has_problem([*fine, problem("port", "4000 is taken; set port")])
    assert not has_problem([])


def test_levels_and_checks_stand_in_columns() -> None:
    lines = as_text([ok("space", "free"), problem("multicast", "set seeds")]).splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "problem"]
    assert lines[0].index("free") == lines[1].index("set seeds")
