"""What goes over REST, in both directions: docs/rest.md."""

from tuner.schemas import *  # noqa: F403
