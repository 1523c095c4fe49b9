"""What a budget means, in each of its forms."""

import pytest

from kws.adapter import stored_bytes
from kws.budget import Budget
from kws.errors import UsageError

TOTAL = 8_836  # parameters of the sites of the smallest network


def half_precision(parameters: int) -> int:
    """A language that stores 1,000 bytes and two for each number."""
    return 1_000 + 2 * parameters


def allowed(text: str, total: int = TOTAL) -> int:
    return Budget.parse(text).parameters(total, half_precision)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("0%", 0),
        ("10%", 883),
        (" 10 % ", 883),
        ("2.5%", 220),
        ("0.01%", 0),
        ("100%", TOTAL),
        ("0", 0),
        ("900", 900),
        ("900.0", 900),
        ("1000000", TOTAL),
        ("1000B", 0),
        ("1001B", 0),
        ("1002B", 1),
        ("2kB", 500),
        ("2KiB", 524),
        ("1.5KiB", 268),
        ("1MB", TOTAL),
        ("1MiB", TOTAL),
        ("٩٠٠", 900),  # digits of any script
    ],
)
def test_every_form_of_a_budget(text: str, parameters: int) -> None:
    assert allowed(text) == parameters


@pytest.mark.parametrize("percent", range(0, 101))
def test_a_share_is_never_exceeded(percent: int) -> None:
    """And a share of a round number is not one short for want of precision."""
    for total in (TOTAL, 100, 1_000, 333, 7):
        parameters = allowed(f"{percent}%", total)
        assert parameters == percent * total // 100


@pytest.mark.parametrize("classes", [2, 12, 42])
@pytest.mark.parametrize("limit", [4_000, 4_001, 4_007, 8_192, 20_000])
def test_bytes_are_those_of_the_stored_file(classes: int, limit: int) -> None:
    """As many as fit, and not one more; the head's bytes are inside."""

    def size(parameters: int) -> int:
        return stored_bytes(parameters, classes, width=32)

    parameters = Budget.parse(f"{limit}B").parameters(TOTAL, size)
    assert size(parameters) <= limit
    assert parameters == TOTAL or size(parameters + 1) > limit


def test_stored_bytes_never_fall() -> None:
    """What the search for the largest number relies on; the file is padded in steps."""
    sizes = [stored_bytes(parameters, 12, 32) for parameters in range(0, 1_200)]
    assert sizes == sorted(sizes)


def test_a_budget_below_the_head_names_the_smallest_that_holds_it() -> None:
    with pytest.raises(UsageError, match=r"999B cannot hold the head; the smallest .* is 1000B"):
        allowed("999B")
    assert allowed("1000B") == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "-1",
        "-5%",
        "10%%",
        "1e3",
        "10 KB",
        "2kib",
        "%",
        "KiB",
        "5/3",
        "10%5",
        "nan",
        "0x1",
    ],
)
def test_what_is_no_budget_is_answered_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no budget; write 10%, 900 \(parameters\) or 2KiB"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("101%", "101% is not between 0% and 100%"),
        ("0.5", "0.5 parameters is not a whole number"),
        ("9" * 400, "not a whole number"),  # beyond all floating-point numbers
    ],
)
def test_impossible_amounts_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget.parse(text)
