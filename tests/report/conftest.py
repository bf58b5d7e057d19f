"""Small films, a detector that costs nothing, a report page of them and a real browser."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import cheap
from facerestore.report.gather import Instruments

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def instruments():
    """A function that hands over the fixed detector and a stand-in for an identity network."""
    tools = cheap.cheap_tools()
    return lambda: Instruments(tools.detector, tools.restorer.vectors)


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; install it, as in: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="pip install 'facerestore[dev]'")
    with sync.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
