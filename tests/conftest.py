"""What several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings: ``$KWS_DATA`` or ``../shared/data``; skips where absent."""
    folder = Path(os.environ.get("KWS_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no recordings at {folder}; set KWS_DATA to the folder of manifest.csv")
    return folder
