"""The tree of errors is as documented, and applications may catch what Python has a name for."""

import inspect

import pytest

from clustersession.core import errors


def tree(kind: type, depth: int = 0) -> list[tuple[int, str]]:
    found = [(depth, kind.__name__)]
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found += tree(child, depth + 1)
    return found


def test_the_tree_in_the_documentation_of_the_module_is_that_of_the_code() -> None:
    lines = [line for line in (inspect.getdoc(errors) or "").splitlines() if line][1:]
    documented = []
    for line in lines:
        name = line.replace("│", " ").replace("├──", "   ").replace("└──", "   ")
        documented.append((
            (len(name) - len(name.lstrip())) // 4, name.split()[0],
        ))
    assert documented == tree(errors.ClusterSessionError)


@pytest.mark.parametrize(("kind", "known_as"), [
    (errors.UnserializableValue, TypeError), (errors.SessionTooLarge, ValueError),
])
def test_errors_of_values_are_those_that_json_and_pickle_raise(
    kind: type[Exception], known_as: type[Exception]
) -> None:
    assert issubclass(kind, known_as)
    assert issubclass(kind, errors.SessionError)


def test_what_applications_catch_has_nothing_to_do_with_disks_and_wires() -> None:
    assert not issubclass(errors.SessionError, errors.ReplicaError | errors.WireError)
    assert issubclass(errors.OtherVersion, errors.WireError)
