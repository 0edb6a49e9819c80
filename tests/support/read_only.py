"""A process that may not write: what it says of databases whose paths it is given, one after the other, as JSON."""

import json
import os
import sys
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")


def main(token: str, *files: str) -> None:
    django.setup()
    from django.db import close_old_connections, connection
    from django.test import Client

    from workspace.health import find_problems
    from workspace.management.commands.serve import Command

    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"})
    for file in files:
        connection.close()
        connection.settings_dict["NAME"] = file
        replies = {
            "readyz": client.get("/readyz").status_code,
            "list": client.get("/api/call/phones").status_code,
            "stranger": Client().get("/api/call/phones").status_code,
            "add": client.post("/api/call/add-phone", {}, content_type="application/json").json(),
            "webhook": client.post("/api/webhooks/twilio/x/answer", {"CallSid": "x"}).status_code,
        }
        replies["problems"] = find_problems()
        if file != files[0]:
            for path in (Path(file).parent, *Path(file).parent.iterdir()):
                path.chmod(0o755)
            close_old_connections()  # as the server does before a request
            replies["mended"] = client.get("/readyz").status_code
        sys.stdout.write(json.dumps(replies) + "\n")
    connection.close()
    connection.settings_dict["NAME"] = files[0]
    Command().prepare()


if __name__ == "__main__":
    main(*sys.argv[1:])
