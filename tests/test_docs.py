"""The code in the documentation runs, and does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from apps.wiring import open_bank

ROOT = Path(__file__).resolve().parent.parent


def test_the_adapter_format_is_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page computes from the files of the zoo are the weights that the bank runs."""
    page = (ROOT / "docs" / "adapter-format.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(ROOT)
    found: dict[str, dict[str, np.ndarray]] = {}
    exec(code, found)
    bank = open_bank(ROOT / "models" / "zoo" / "ara", [ROOT / "models" / "zoo" / "cmn"])
    for name, tensor in bank.network.state_dict().items():
        np.testing.assert_allclose(found["weights"][name], tensor.numpy(), atol=1e-6)


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target
