"""Waiting for an agent: once, then not for a while, unless another has come."""

from clustersession.worker.circuit_breaker import GIVE_UP_S, CircuitBreaker


def test_it_is_over_for_a_while_after_a_wait_in_vain() -> None:
    patience = CircuitBreaker(lambda: 1)
    assert not patience.is_over(0.0)
    patience.disappointed(1.0)
    assert patience.is_over(1.0 + GIVE_UP_S / 2)
    assert not patience.is_over(1.0 + GIVE_UP_S)


def test_an_answer_or_another_agent_restores_it() -> None:
    attachments = [1]
    patience = CircuitBreaker(lambda: attachments[0])
    patience.disappointed(0.0)
    patience.answered()
    assert not patience.is_over(0.1)
    patience.disappointed(0.0)
    attachments[0] += 1
    assert not patience.is_over(0.1)
