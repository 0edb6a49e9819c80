"""The product's settings in the tests' environment, for tools that load Django by themselves, such as mypy."""

import tests.support.environment  # noqa: F401
from workspace.settings import *  # noqa: F403
