"""The simulated carriers: the REST APIs of Twilio, Plivo and Telnyx on a loopback port, and inbound calls from them.

For the demo, the tests and the benchmarks; never part of the server process.

    from sandbox.ledger import rounds
    from sandbox.sandbox import Sandbox

    with Sandbox() as sandbox:
        sandbox.fault("status", carrier="twilio", method="POST", status=503)
        ...  # point an SDK at sandbox.twilio_url
        assert rounds(sandbox.ledger) <= 2
        call = sandbox.place_call("twilio", "12125551234")  # requests the number's webhooks
        assert call.status == "completed"
"""
