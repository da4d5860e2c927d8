"""What can go wrong while the embedded servers are found, started or stopped."""


class EmbeddedError(Exception):
    """The embedded servers could not do what was asked; the text says why and what to do."""


class AlreadyRunning(EmbeddedError):  # noqa: N818 - the name is the sentence that users read
    """Another process runs the servers of this data folder; the text names the process and the folder."""


class NotInstalled(EmbeddedError):  # noqa: N818
    """A server program was not found; the text names it and says how to install it."""
