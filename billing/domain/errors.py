"""What a use case refuses."""


class RefusedError(ValueError):
    """A request that breaks a rule. Nothing was changed.

    `field` names what breaks it ("" for the whole request), `rule` is a stable word ("state": the state of the thing
    does not permit it now), `message` says what is wrong and what is allowed. Its text is "field: message"."""

    def __init__(self, field: str, rule: str, message: str) -> None:
        super().__init__(field, rule, message)
        self.field = field
        self.rule = rule
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message
