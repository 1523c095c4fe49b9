"""Programs run on a detection: what they are told, and that they cannot hold anything up."""

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apps.listening.command import ProgramRunner, parse, variables
from apps.listening.worker import Worker
from kws.detector import Detection
from kws.errors import KwsError, UsageError

NOTHING = np.zeros(0, np.float32)
HOSTILE = (
    "$(touch pwned); `touch pwned`; touch pwned",
    "'\"; touch pwned #",
    "a\nb\x1b[2J",
    "nul\0byte",
    "--help",
    "صوت 北京 😀 \udcff",
    "",
)


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def event(keyword: str = "go", time: float = 1.28) -> Detection:
    return Detection(keyword, "eng", 0.91239, time)


LOG = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("KWS_")}
print(json.dumps([sys.argv[1:], told, sys.stdin.read()]), file=open("log", "a"))
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told; the programs run in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KWS_CACHE")
    monkeypatch.delenv("KWS_DATA", raising=False)
    return []


@pytest.mark.parametrize("keyword", HOSTILE)
def test_a_keyword_is_data_and_never_code(said: list[str], keyword: str) -> None:
    command = ProgramRunner(python(LOG) + " '$KWS_KEYWORD' ';' touch pwned", said.append)
    command.hear(NOTHING, [event(keyword)])
    command.close()
    assert said == []
    arguments, told, stdin = json.loads(Path("log").read_text())
    assert arguments == ["$KWS_KEYWORD", ";", "touch", "pwned"]  # no shell has read them
    shown = keyword.replace("\0", "").replace("\udcff", "?")
    language, score, time = "eng", "0.9124", "1.28"
    assert told == {
        "KWS_KEYWORD": shown,
        "KWS_LANGUAGE": language,
        "KWS_SCORE": score,
        "KWS_TIME": time,
    }
    assert json.loads(stdin) == event(keyword.replace("\udcff", "?")).as_dict()
    assert os.listdir() == ["log"]


def test_detections_are_answered_in_their_order(said: list[str]) -> None:
    code = "import os; print(os.environ['KWS_KEYWORD'], file=open('log', 'a'))"
    command = ProgramRunner(python(code), said.append)
    command.hear(NOTHING, [event(f"word {number}") for number in range(3)])
    command.hear(NOTHING, [])
    command.close()
    assert Path("log").read_text().splitlines() == ["word 0", "word 1", "word 2"]


def test_a_command_that_fails_is_told_and_the_next_one_runs(said: list[str]) -> None:
    command = ProgramRunner(python("import sys; sys.exit(3)"), said.append)
    command.hear(NOTHING, [event(), event()])
    command.close()
    assert said == [f"--exec: {sys.executable} failed with exit code 3"] * 2


def test_a_command_that_a_signal_ends_is_told_as_that(said: list[str]) -> None:
    command = ProgramRunner(python("import os; os.kill(os.getpid(), 9)"), said.append)
    command.hear(NOTHING, [event()])
    command.close()
    assert said == [f"--exec: {sys.executable} was ended by signal 9"]


HANG = shlex.join(["sh", "-c", "sleep 600 & echo $! > child; wait"])


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_command_that_hangs_is_ended_with_all_that_it_started(said: list[str]) -> None:
    command = ProgramRunner(HANG, said.append, timeout=2)
    command.hear(NOTHING, [event()])
    command.close()
    assert said == ["--exec: sh took more than 2 s and was ended"]
    child = int(Path("child").read_text())
    for _ in range(100):  # the system may take a moment to bury it
        if not is_running(child):
            break
        time.sleep(0.1)
    assert not is_running(child)


def test_where_there_are_no_groups_of_processes_it_is_ended_alone(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr("os.killpg")
    command = ProgramRunner("sleep 600", said.append, timeout=0.5)
    command.hear(NOTHING, [event()])
    command.close()
    assert said == ["--exec: sleep took more than 0.5 s and was ended"]


def test_a_command_of_another_user_is_left_to_end_by_itself(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    end = os.killpg

    def deny(group: int, number: int) -> None:
        end(group, number)  # this one does so now
        raise PermissionError

    monkeypatch.setattr("os.killpg", deny)
    command = ProgramRunner("sleep 600", said.append, timeout=0.5)
    command.hear(NOTHING, [event()])
    command.close()
    assert said == [
        "--exec: sleep took more than 0.5 s and runs as another user, so it has to end by itself"
    ]


def test_a_command_that_hangs_holds_up_neither_the_listener_nor_the_end(said: list[str]) -> None:
    threads = set(threading.enumerate())
    command = ProgramRunner(
        python("import time; time.sleep(600)"), said.append, timeout=600, capacity=2
    )
    for _ in range(50):
        command.hear(NOTHING, [event()])
    command.close(timeout=0.1)
    left_out = [note for note in said if "2 are already waiting" in note]
    assert 47 <= len(left_out) <= 48
    assert "--exec: not all commands were run to their end" in said
    assert set(threading.enumerate()) == threads  # what waited is not begun


def test_a_command_that_just_begins_when_all_ends_is_ended_too(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, start = set(threading.enumerate()), ProgramRunner._start

    def late(self: ProgramRunner, event: Detection) -> object:
        while not self._ended:
            time.sleep(0.01)
        return start(self, event)

    monkeypatch.setattr(ProgramRunner, "_start", late)
    command = ProgramRunner("sleep 20", said.append, timeout=600)
    command.hear(NOTHING, [event()])
    command.close(timeout=0.1)
    assert said == ["--exec: not all commands were run to their end"]
    assert set(threading.enumerate()) == threads


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Also where the tests run in the background of a shell, which lets no interrupt through."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_who_interrupts_while_it_ends_leaves_no_command_behind(said: list[str]) -> None:
    """Ctrl-C does not spare what would run for ever, though it is waited for without limit."""
    command = ProgramRunner(HANG, said.append, timeout=600)
    command.hear(NOTHING, [event()])
    while not Path("child").exists():
        time.sleep(0.01)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    command.close()
    assert said == ["--exec: not all commands were run to their end"]
    child = int(Path("child").read_text())
    for _ in range(100):
        if not is_running(child):
            break
        time.sleep(0.1)
    assert not is_running(child)


def test_a_command_that_reads_nothing_and_prints_much_is_no_harm(
    said: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    command = ProgramRunner(python("print('x' * 10_000_000)"), said.append, quiet=True)
    command.hear(NOTHING, [event("y" * 1_000)])
    command.close()
    assert said == []
    assert capfd.readouterr() == ("", "")


def test_what_a_command_prints_goes_to_standard_error(
    said: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """On standard output there are detections alone."""
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    command = ProgramRunner(python(code), said.append)
    command.hear(NOTHING, [event()])
    command.close()
    assert said == []
    assert capfd.readouterr() == ("", "out\nerr\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a command"),
        ("  ", "needs a command"),
        ("echo 'a", "badly quoted"),
        ("no-such-program --loud", "there is no program 'no-such-program'"),
        ("/etc/passwd", "'/etc/passwd' may not be run; allow it: chmod"),
        ("echo heard | tee log", "starts no shell, and only a shell understands '\\|'"),
        ("echo $KWS_KEYWORD", r"--exec 'sh -c .*echo \$KWS_KEYWORD"),
        ('echo "it\'s $KWS_KEYWORD"', r"understands '\$KWS_KEYWORD'; put it in single"),
        ("echo a${KWS_TIME:-0}", r"understands '\${KWS_TIME:-0}'"),
        ('echo "$(date)"', r"understands '\$\('"),
        ("echo `date`", "understands '`'"),
        ("echo hi >log", "understands '>'"),
        ("true 2>/dev/null", "understands '>'"),
        ("echo hi;ls", "understands ';'"),
        ("true ~/ding.wav", "understands '~'"),
    ],
)
def test_a_command_that_cannot_be_is_refused_at_the_start(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_a_program_in_the_own_folder_wants_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not looked for there, whatever its rights."""
    monkeypatch.chdir(tmp_path)
    Path("notify").touch(0o755)
    with pytest.raises(UsageError, match="there is no program 'notify'; give its whole path"):
        parse("notify x")
    assert parse("./notify x") == ["./notify", "x"]


def test_a_shell_may_be_asked_for() -> None:
    asked = "sh -c 'echo $KWS_KEYWORD | cat'"
    assert parse(asked) == ["sh", "-c", "echo $KWS_KEYWORD | cat"]
    for one in ("find . -exec echo {} ';'", "timeout 5 sh -c 'echo $KWS_KEYWORD'"):
        assert parse(one)[0] == one.split()[0]
    for shell in ("bash", "dash", "zsh", "fish", "nu", "/usr/bin/fish", "cmd.exe"):
        assert parse(f"timeout 5 {shell} -c $KWS_KEYWORD ;")[2] == shell
    with pytest.raises(UsageError) as refused:
        parse("echo $KWS_KEYWORD '|' cat")
    (proposed,) = shlex.split(str(refused.value).rpartition("--exec ")[2])
    assert parse(proposed)[:2] == ["sh", "-c"]


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("'a;b'", "a;b"),
        ('"a;b > c"', "a;b > c"),
        ("a\\;b", "a;b"),
        ("'$KWS_KEYWORD `date`'", "$KWS_KEYWORD `date`"),
        (r'"\$KWS_KEYWORD"', r"\$KWS_KEYWORD"),
        ("5$", "5$"),
        ("a~", "a~"),
        ("'~/a'", "~/a"),
    ],
)
def test_what_is_quoted_is_an_argument_as_it_stands(text: str, argument: str) -> None:
    assert parse(f"echo {text}") == ["echo", argument]


def test_what_a_program_is_told_can_be_passed_in_every_locale() -> None:
    for value in variables(event("صوت 北京\0")).values():
        assert b"\0" not in os.fsencode(value)


def test_a_worker_that_cannot_tell_goes_on() -> None:
    """Where a log is on a disk that is full, for example."""

    def tell(sentence: str) -> None:
        raise OSError(sentence)

    worker, done = Worker("work", tell), threading.Event()
    worker.submit(lambda: tell("it cannot be"))
    worker.submit(done.set)
    assert worker.close(timeout=30)
    assert done.is_set()


def test_a_worker_tells_of_errors_and_goes_on() -> None:
    told: list[str] = []
    worker = Worker("work", told.append)
    done = threading.Event()

    def fail() -> None:
        raise KwsError("it cannot be")

    worker.submit(fail)
    worker.submit(done.set)
    assert worker.close()
    assert done.is_set()
    assert told == ["work: it cannot be"]


def test_a_script_whose_program_is_not_there_is_told_in_a_sentence(said: list[str]) -> None:
    """As one whose lines end as on Windows."""
    Path("script").write_text("#!/nowhere/sh\n")
    Path("script").chmod(0o755)
    command = ProgramRunner("./script", said.append)
    command.hear(NOTHING, [event()])
    command.close()
    (told,) = said
    assert told.endswith("script cannot be run: its first line names no program that exists")


def test_a_program_that_is_deleted_meanwhile_is_told_as_that(said: list[str]) -> None:
    Path("script").touch(0o755)
    command = ProgramRunner("./script", said.append)
    Path("script").unlink()
    command.hear(NOTHING, [event()])
    command.close()
    assert said == ["--exec: ./script cannot be run: it is not there any more; put it back"]
