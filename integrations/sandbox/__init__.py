"""The simulated carriers: the REST APIs of Twilio, Plivo and Telnyx on a loopback port.

For the demo, the tests and the benchmarks; never a part of the serving process.

    with Sandbox() as sandbox:
        sandbox.fault("status", carrier="twilio", method="POST", status=503)
        ...  # point an SDK at sandbox.twilio_url
        assert rounds(sandbox.ledger) <= 2
"""

from .calls import PlacedCall
from .deliveries import Delivery
from .faults import Fault
from .ledger import Exchange, rounds
from .sandbox import Sandbox

__all__ = ["Delivery", "Exchange", "Fault", "PlacedCall", "Sandbox", "rounds"]
