"""Who acts, for the audit trail (users/audit.py). Loaded before Django is set up: imports nothing of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

ActorKind = Literal["staff", "token", "command", "system"]


class Actor(NamedTuple):
    kind: ActorKind = "system"
    name: str = ""
    address: str = ""


NOBODY = Actor()

_present: ContextVar[Actor] = ContextVar("actor", default=NOBODY)


def present_actor() -> Actor:
    return _present.get()


@contextmanager
def acting(actor_kind: ActorKind, actor: str, address: str = "") -> Iterator[None]:
    """Whoever acts in this block, and only there: threads are used again, and new ones start as ("system", "").

    Args:
        actor_kind: staff, token, command or system.
        actor: an e-mail address, the prefix of a token or the name of a command.
        address: where the request came from; empty for what did not come over the network.
    """
    mark = _present.set(Actor(actor_kind, actor, address))
    try:
        yield
    finally:
        _present.reset(mark)


def turns_out_to_be(actor_kind: ActorKind, actor: str) -> None:
    """Says who acts for the rest of the block of `acting`; the address stays. For what is known only in its middle."""
    _present.set(Actor(actor_kind, actor, present_actor().address))
