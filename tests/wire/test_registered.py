"""Types of an application in a session: written, read, refused, and unknown elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from clustersession import register
from clustersession.core.errors import ConfigurationError, UnserializableValue, WireError
from clustersession.wire.registered import unregister
from clustersession.wire.values import decode_value, encode_value
from tests.session.fakes import World


@dataclass(frozen=True)
class Money:
    amount: Any
    currency: str


@dataclass(frozen=True)
class Item:
    name: str
    price: Any


class Color(str):
    pass


def encode_money(money: Money) -> object:
    return [money.amount, money.currency]


def decode_money(content: Any) -> Money:
    return Money(*content)


@pytest.fixture(autouse=True)
def types() -> Iterator[None]:
    register(Money, "money.1", encode_money, decode_money)
    register(Item, "item.1", lambda i: {"name": i.name, "price": i.price}, lambda c: Item(**c))
    yield
    for kind in (Money, Item, Color):
        unregister(kind)


@pytest.mark.parametrize("value", [
    Money(5, "EUR"), [Money(5, "EUR")], {"a": (Money(1, "x"), {Money(2, "y")})},
    Item("tea", Money(5, "EUR")), Item("lone \ud800 surrogate", 1),
])  # fmt: skip
def test_what_goes_in_comes_out(value: Any) -> None:
    data = encode_value(value)
    assert decode_value(data) == value
    assert encode_value(decode_value(data)) == data


def test_a_registered_subclass_keeps_its_type() -> None:
    assert type(decode_value(encode_value(Color("red")))) is str
    register(Color, "color", str, Color)
    assert type(decode_value(encode_value([Color("red")]))[0]) is Color  # type: ignore[index]


def test_the_path_inside_a_value_is_named() -> None:
    cart = [Item("tea", 1), Item("jam", 2), Item("cake", Money(object(), "EUR"))]
    with pytest.raises(UnserializableValue) as raised:
        encode_value(cart, "cart")
    assert str(raised.value).startswith(
        "session['cart'][2].price[0] is of type builtins.object, which no session can carry"
    )


def test_an_encoder_that_fails_is_named() -> None:
    register(Color, "color", lambda c: 1 / 0, Color)  # type: ignore[arg-type]
    with pytest.raises(UnserializableValue, match=r"\['a'\]\['b'\] .*'color'.*ZeroDivisionError"):
        encode_value({"b": Color("red")}, "a")


def test_a_value_that_contains_itself_is_refused() -> None:
    money = Money([], "EUR")
    money.amount.append(money)
    with pytest.raises(UnserializableValue, match="contains itself"):
        encode_value(money, "m")


@pytest.mark.parametrize(("kind", "name", "error"), [
    (dict, "d", "dict cannot be registered"), ("x", "x", "takes a type"),
    (Color, "", "no name"), (Color, "a b", "no name"),
    (Color, "money.1", "another type"), (Money, "money.2", "registered already, as 'money.1'"),
])  # fmt: skip
def test_what_cannot_be_registered(kind: Any, name: str, error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        register(kind, name, str, str)


def test_importing_a_module_twice_does_no_harm() -> None:
    register(Money, "money.1", encode_money, decode_money)


def test_an_older_name_is_still_read() -> None:
    old = encode_value(Money(5, "EUR"))
    unregister(Money)
    register(
        Money, "money.2", lambda m: {"a": m.amount, "c": m.currency},
        lambda c: Money(c["a"], c["c"]), older={"money.1": decode_money},
    )  # fmt: skip
    assert decode_value(old) == Money(5, "EUR")
    assert encode_value(decode_value(old)) != old


def test_a_node_that_does_not_know_the_type_leaves_it_out_and_keeps_it() -> None:
    world = World()
    cookie = world.store(user="ann", total=Money(5, "EUR"))
    unregister(Money)
    with pytest.raises(WireError, match=r"no type is registered here as 'money\.1'"):
        decode_value(encode_value_of(world, "total"))
    session = world.open([cookie])
    assert session == {"user": "ann"}
    session["user"] = "bob"
    world.commit(session)
    assert world.manager.counters.decode_errors == 1
    register(Money, "money.1", encode_money, decode_money)
    assert world.open([cookie]) == {"user": "bob", "total": Money(5, "EUR")}


def test_a_decoder_that_fails_bricks_nothing() -> None:
    world = World()
    cookie = world.store(user="ann", total=Money(5, "EUR"))
    unregister(Money)
    register(Money, "money.1", encode_money, lambda c: 1 / 0)  # type: ignore[arg-type,return-value]
    assert world.open([cookie]) == {"user": "ann"}


def encode_value_of(world: World, name: str) -> bytes:
    (state,) = world.replica.states.values()
    data = state.registers[name].value
    assert data is not None
    return data
