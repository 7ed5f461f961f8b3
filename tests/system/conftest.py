# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """The tests of one file share machines, and so run in one process, one after the other."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.name))
