"""The runner's files are programs, not part of the package: here they can be imported as they import each other."""

import sys

from fastcgi_client import RUNNER

sys.path.append(str(RUNNER.parent))
