"""A detector that costs nothing, for pages about small films."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import cheap
from facerestore.report.gather import Instruments


@pytest.fixture(scope="session")
def instruments():
    """A function that hands over the fixed detector and a stand-in for an identity network."""
    tools = cheap.cheap_tools()
    return lambda: Instruments(tools.detector, tools.restorer.vectors)
