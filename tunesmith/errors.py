"""What the service and the client refuse with, a class for each code: docs/errors.md."""

from tuner.errors import *  # noqa: F403
