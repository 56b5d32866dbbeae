"""Write docs/configuration.md: every key of config.yaml, from the settings classes."""

from __future__ import annotations

import sys
from pathlib import Path

from pointlift.contracts.files import write_text
from pointlift.settings_page import settings_page

if __name__ == "__main__":
    write_text(Path(sys.argv[1]), settings_page())
