"""Every decoder takes what is right and refuses the rest with its one error."""

import os
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from clustersession.core.errors import WireError
from clustersession.core.identity import Address
from clustersession.wire.messages import decode_message, encode_message
from tests.fuzzing import samples
from tests.fuzzing.campaign import CORPUS, Campaign, Finding, all_targets, corpus_of, replay
from tests.fuzzing.run import FINDINGS, load, save
from tests.fuzzing.target import Target

INPUTS = int(os.environ.get("TEST_FUZZING_INPUTS", "6000"))
SEED = int(os.environ.get("TEST_FUZZING_SEED", "1"))
TARGETS = all_targets()


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_found_once_is_right_for_good(path: Path) -> None:
    name, data = load(path)
    replay(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_decoded_or_refused(name: str) -> None:
    target = TARGETS[name]
    Campaign([target], SEED).run(round(INPUTS * target.share))


def test_the_corpus_is_small_and_every_input_in_it_is_handled() -> None:
    files = list(CORPUS.glob("*.hex"))
    assert sum(path.stat().st_size for path in files) <= 200_000
    for path in files:
        for data in corpus_of(path.stem):
            replay(TARGETS[path.stem], data)


def refuse_nothing(data: bytes) -> bool:
    return 1 // data.count(b"v") >= 0


def eat_memory(data: bytes) -> bool:
    return bool(bytearray(10**7 if len(data) < 1000 else 0))


def waste_time(data: bytes) -> bool:
    return data.startswith(b"v") or sum(range(3 * 10**7)) > 0


@pytest.mark.parametrize(
    ("check", "what"),
    [
        (refuse_nothing, "ZeroDivisionError"), (eat_memory, "bytes of memory"),
        (waste_time, "took"), (lambda data: data[:1] == b"x", "a valid input was refused"),
    ],
)
def test_a_decoder_that_breaks_its_promise_is_found(
    check: object, what: str, tmp_path: Path
) -> None:
    target = Target("broken", lambda rng: b"valid" * rng.randint(1, 9), check)  # type: ignore
    with pytest.raises(Finding, match=what) as caught:
        Campaign([target], 1).run(20_000)
    path = save(caught.value, 1, tmp_path)
    assert load(path) == ("broken", caught.value.data)


@pytest.mark.parametrize(("took_s", "looks"), [([0.01], 1), ([9, 9, 0.01], 3), ([9, 9, 9], 3)])
def test_what_seems_slow_is_looked_at_again(
    took_s: list[float], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [*took_s]
    monkeypatch.setattr("tests.fuzzing.campaign._seconds", lambda target, data: left.pop(0))
    target = Target("quick", lambda rng: b"", lambda data: True)
    if min(took_s) < 1:
        assert replay(target, b"x")
    else:
        with pytest.raises(Finding, match="took over"):
            replay(target, b"x")
    assert len(took_s) - len(left) == looks


def test_a_campaign_is_the_same_every_time() -> None:
    campaigns = [Campaign([TARGETS["message.Changes"]], 7) for _ in range(2)]
    for campaign in campaigns:
        campaign.run(2000)
    first, second = (campaign.counts["message.Changes"] for campaign in campaigns)
    assert first.accepted == second.accepted


def test_an_address_told_by_a_peer_is_no_line_of_a_log() -> None:
    for zone in ("\n2026-01-01 all is well", "\x1b[2J", "\u2028"):
        beat = replace(samples.MESSAGES["Heartbeat"](Random(1)), members=(
            Address(f"fe80::1%{zone}", 4000),
        ))
        with pytest.raises(WireError):
            decode_message(encode_message(beat))
