"""Tries the product's carrier classes on real accounts: `make live`. docs/live.md says how.

    LIVE_TWILIO_ACCOUNT_ID=… LIVE_TWILIO_AUTH_TOKEN=… LIVE_TWILIO_NUMBER=… python -m tests.live

1. `guard` stops every request that could change something, below all HTTP clients.
2. `configuration` reads the accounts from the environment.
3. `account` reads what there is of an account, through the product's own provider.
4. `calling` places one call, only if LIVE_CALL_TO is set.
5. `facts` lists what the product relies on and no carrier documents, and checks each against what was read.
6. `run` does all this and prints the report.

Needs only what production needs, and no database.
"""
