"""Formats the agent's log lines as text for people, or as JSON for programs."""

import json
import logging
from datetime import UTC, datetime

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
PLAIN_EVENT = "line"
"""The name of what is no event: a line of a library, say."""


def log_formatter(log_format: str) -> logging.Formatter:
    """Return a formatter for the setting ``log_format``."""
    return JsonFormatter() if log_format == "json" else logging.Formatter(LOG_FORMAT)


class JsonFormatter(logging.Formatter):
    """Writes an object per line: time, level, logger, event, text, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; never more than one."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", PLAIN_EVENT),
            "text": record.getMessage(),
        }
        fields = getattr(record, "fields", {})
        line.update({name: value for name, value in fields.items() if name not in line})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
