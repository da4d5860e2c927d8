"""Logs hold no link that opens something."""

import logging
import re

_LINK = re.compile(r"/(pay|card|bind)/[^/\s?]+")


class WithoutLinks(logging.Filter):
    """Writes `/pay/…` for the path of a payment link, and the like."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        shown = _LINK.sub(r"/\1/…", text)
        if shown != text:
            record.msg, record.args = shown, None
        return True
