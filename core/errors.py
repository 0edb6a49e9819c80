"""Our own refusals. What a carrier refuses is in integrations/errors.py and has the same two attributes."""


class Refusal(Exception):
    """A request that we turn down. `str(error)` is safe to show and says what to do next.

    `code` is the machine code of the reply (core/envelope.py has its HTTP status); `field` is the wire name of the
    field to blame, if it is one; `headers` go with the reply.
    """

    code = "internal_error"
    field: str | None = None

    def __init__(
        self,
        reason: str,
        *,
        code: str | None = None,
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code or self.code
        self.field = field or self.field
        self.headers = headers or {}
