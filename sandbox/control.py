"""The control API under /_sandbox/, through which another process scripts and inspects the sandbox. Uses JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .calls import PlacedCall
from .carrier import Reply

if TYPE_CHECKING:
    from .sandbox import Sandbox

PREFIX = "/_sandbox/"


def handle(sandbox: "Sandbox", method: str, path: str, body: Any) -> Reply:
    """Carry out a control request. A 400 reply says what is wrong with it."""
    try:
        return _route(sandbox, method, path.removeprefix(PREFIX), body or {})
    except (TypeError, ValueError, AttributeError) as error:
        return Reply(400, {"error": str(error)})
    except KeyError as error:
        return Reply(400, {"error": f"{error} is missing or unknown."})


def _route(sandbox: "Sandbox", method: str, name: str, body: dict[str, Any]) -> Reply:
    match method, name:
        case "GET", "health":
            return Reply(200, {"status": "ok"})
        case "GET", "state":
            return Reply(200, sandbox.snapshot())
        case "GET", "ledger":
            return Reply(200, {"exchanges": [asdict(exchange) for exchange in sandbox.ledger]})
        case "POST", "reset":
            sandbox.reset()
        case "POST", "faults":
            if "change" in body:
                raise ValueError("A rewrite fault can be set only from Python.")
            sandbox.fault(**body)
        case "DELETE", "faults":
            sandbox.clear_faults()
        case "POST", "late":
            return Reply(200, {"landed": sandbox.land_late()})
        case "POST", ("console" | "transfers" | "secrets" | "calls" | "targets" | "hosts"):
            return _act(sandbox, name, body)
        case "POST", "settings":
            sandbox.delay_s = float(body.get("delay_s", sandbox.delay_s))
            sandbox.deliver_to = body.get("deliver_to", sandbox.deliver_to)
            sandbox.refuse_in_use = bool(body.get("refuse_in_use", sandbox.refuse_in_use))
            sandbox.media_not_ready = int(body.get("media_not_ready", sandbox.media_not_ready))
            sandbox.concurrency_limit = body.get("concurrency_limit", sandbox.concurrency_limit)
        case _:
            return Reply(404, {"error": "Unknown control request."})
    return Reply(200, {"status": "ok"})


def _act(sandbox: "Sandbox", name: str, body: dict[str, Any]) -> Reply:
    """Do what a carrier's customer or a caller does."""
    match name:
        case "console":
            target = {key: body[key] for key in ("number", "application") if key in body}
            return Reply(200, sandbox.console(body["carrier"], body["account"], **target, **body["set"]))
        case "transfers":
            return Reply(200, sandbox.transfer_number(**body))
        case "secrets":
            sandbox.change_secret(**body)
            return Reply(200, {"status": "ok"})
        case "targets":
            sandbox.add_target(**body)
            return Reply(200, {"status": "ok"})
        case "hosts":
            sandbox.hosts.update({str(host): str(address) for host, address in body.items()})
            return Reply(200, {"status": "ok"})
        case _:
            return Reply(200, _shown(sandbox.place_call(**body)))


def _shown(call: PlacedCall) -> dict[str, Any]:
    shown = asdict(call)
    for delivery in shown["requests"]:
        delivery["body"] = delivery["body"].decode("utf-8", "replace")
    return shown
