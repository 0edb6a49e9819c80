"""The current actor, for the audit trail (users/audit.py). Loaded before Django is set up, so it imports none of it."""

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

_current: ContextVar[Actor] = ContextVar("actor", default=NOBODY)


def current_actor() -> Actor:
    return _current.get()


@contextmanager
def actor_context(actor_kind: ActorKind, actor: str, address: str = "") -> Iterator[None]:
    """Set the actor for this block only, because threads are reused. New threads start as ("system", "").

    Args:
        actor_kind: staff, token, command or system.
        actor: an e-mail address, the prefix of a token or the name of a command.
        address: the client's address; empty for actions that did not come over the network.
    """
    mark = _current.set(Actor(actor_kind, actor, address))
    try:
        yield
    finally:
        _current.reset(mark)


def set_actor(actor_kind: ActorKind, actor: str) -> None:
    """Change the actor for the rest of the `actor_context` block, once it is known; the address stays the same."""
    _current.set(Actor(actor_kind, actor, current_actor().address))
