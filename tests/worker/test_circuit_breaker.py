"""Waiting for an agent: once, then not for a while, unless another has come."""

from clustersession.worker.circuit_breaker import OPEN_S, CircuitBreaker


def test_it_is_open_for_a_while_after_a_wait_in_vain() -> None:
    breaker = CircuitBreaker(lambda: 1)
    assert not breaker.is_open(0.0)
    breaker.failed(1.0, 0.95)
    assert breaker.is_open(1.0 + OPEN_S / 2)
    assert not breaker.is_open(1.0 + OPEN_S)


def test_an_answer_or_another_agent_closes_it() -> None:
    attachments = [1]
    breaker = CircuitBreaker(lambda: attachments[0])
    breaker.failed(0.0, 0.0)
    breaker.succeeded()
    assert not breaker.is_open(0.1)
    breaker.failed(0.0, 0.0)
    attachments[0] += 1
    assert not breaker.is_open(0.1)


def test_who_stood_still_itself_does_not_judge_the_agent() -> None:
    """For a while, nobody would wait for an agent whose answer has been there all the time."""
    breaker = CircuitBreaker(lambda: 1)
    breaker.failed(4.0, 1.0)
    assert not breaker.is_open(4.1)
    breaker.failed(5.1, 5.0)
    assert breaker.is_open(5.2)
