"""The code in the documentation runs, and does what it says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.results.page import write_results, write_summary
from apps.wiring import bank_of, open_base, open_runtime
from kws.engine import Engine
from kws.files import read_json

ROOT = Path(__file__).resolve().parent.parent


def test_the_adapter_format_is_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page computes from the files of the zoo are the weights that the bank runs."""
    page = (ROOT / "docs" / "adapter-format.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(ROOT)
    found: dict[str, dict[str, np.ndarray]] = {}
    exec(code, found)
    bank = bank_of(open_base(ROOT / "models" / "zoo" / "ara"))
    bank.set_adapter(bank.load_adapter(ROOT / "models" / "zoo" / "cmn"))
    for name, tensor in bank.network.state_dict().items():
        np.testing.assert_allclose(found["weights"][name], tensor.numpy(), atol=1e-6)


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_results_are_what_the_records_say(tmp_path: Path) -> None:
    """Nothing in the tables was typed, neither there nor in the README."""
    records = [read_json(path) for path in sorted((ROOT / "docs" / "records").rglob("*.json"))]
    made = tmp_path / "results.md"
    write_results(records, made, ROOT / "models" / "zoo")
    assert made.read_text("utf-8") == (ROOT / "docs" / "results.md").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    (tmp_path / "README.md").write_text(readme, "utf-8")
    write_summary(records, tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text("utf-8") == readme


def test_the_program_in_the_readme_listens_as_the_commands_do() -> None:
    """To the network that streams, with the adapter's thresholds."""
    (code,) = re.findall(
        r"```python\n(from apps.wiring.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    engine = Engine(open_runtime(ROOT / "models/zoo/ara", [ROOT / "models/zoo/cmn"]))
    noise = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    engine.feed(noise)
    engine.flush()
    found: dict[str, Any] = {"blocks": [noise[:10_000], noise[10_000:]]}
    code = code.replace("engine.reset()", "assert not last")
    exec(code.replace("models/zoo", str(ROOT / "models" / "zoo")), found)
    np.testing.assert_allclose(found["engine"].scores, engine.scores, atol=1e-5)
