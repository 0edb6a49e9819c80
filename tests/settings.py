"""The product's settings in the tests' environment, for tools that load Django by themselves, such as mypy."""

import tests.environment  # noqa: F401
from workspace.settings import *  # noqa: F403
