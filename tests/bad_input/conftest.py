"""The same scheduler and worker as in `fundamentals`, and a plain connection to write rubbish with."""

from tests.admin.conftest import scheduler as scheduler
from tests.fundamentals.conftest import worker as worker
from tests.integration.conftest import prefix as prefix
from tests.integration.conftest import raw as raw
