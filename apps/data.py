"""``kws data``: get public speech corpora, or make speech where there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from audio_data.download import get_mswc, get_speech_commands
from audio_data.synthesis import DEFAULT_WORDS, make_corpus, sounds_of
from kws.errors import UsageError

from . import options
from .progress import counting, fetching


def out_option(**default: Any) -> Callable[[options.F], options.F]:
    """Where a corpus goes; without a default it must be given."""
    return click.option(
        "--out",
        type=options.FOLDER,
        help="folder to make or to finish",
        required=not default,
        show_default=True,
        **default,
    )


mirror_option = click.option("--mirror", help="address of a copy of the public archive")


@click.group(cls=options.Group)
def data() -> None:
    """Get public speech corpora, or make speech where there is none."""


@data.group(cls=options.Group)
def get() -> None:
    """Download a public corpus; repeat the command to resume."""


@get.command("speech-commands")
@out_option(default="data/speech-commands")
@mirror_option
def speech_commands(out: Path, mirror: str | None) -> None:
    """Speech Commands v0.02: English, 35 words, 2.4 GB, CC BY 4.0."""
    with fetching() as watch:
        click.echo(get_speech_commands(out, base_url=mirror, watch=watch))


@get.command()
@click.option("--language", required=True, help="such as de or zh-CN; goes to OUT/LANGUAGE")
@out_option(default="data/mswc")
@mirror_option
def mswc(language: str, out: Path, mirror: str | None) -> None:
    """Multilingual Spoken Words Corpus: one of its 50 languages, CC BY 4.0."""
    with fetching() as watch:
        click.echo(get_mswc(out, language, base_url=mirror, watch=watch))


@data.command()
@click.option("--language", "languages", multiple=True, help="BCP 47 or ISO 639-3; repeatable")
@click.option(
    "--words", multiple=True, help="word,word,... of the --language before it; repeatable"
)
@options.respelt
@out_option()
@click.option("--speakers", default=12, show_default=True, help="synthetic voices, at least 3")
@click.option("--takes", default=3, show_default=True, help="clips of each word per voice")
@options.seed
def make(
    languages: tuple[str, ...],
    words: tuple[str, ...],
    respelt: dict[str, str],
    out: Path,
    speakers: int,
    takes: int,
    seed: int,
) -> None:
    """Speak words with eSpeak NG and print the manifest's path.

    Without --words a language's demonstration words are spoken, without --language those of all
    languages that have some. Several languages: --language de --words ja,nein --language en
    --words yes,no.
    """
    said = _vocabulary(languages, words)
    for language, some in said.items():
        sounds_of(some, language, respelt)  # refuses what is said alike
    with counting("speaking") as progress:
        manifest = make_corpus(
            out,
            said,
            speakers=speakers,
            takes=takes,
            seed=seed,
            respelt=respelt,
            progress=progress,
        )
    click.echo(manifest)


def _vocabulary(languages: tuple[str, ...], words: tuple[str, ...]) -> dict[str, list[str]]:
    if words:
        if len(words) != len(languages) or len(set(languages)) < len(languages):
            raise UsageError(
                f"{len(words)} --words and {len(set(languages))} different --language are given; "
                "give one --words for each --language"
            )
        return {
            language: list(options.split_words(text))
            for language, text in zip(languages, words, strict=True)
        }
    for language in languages:
        if language not in DEFAULT_WORDS:
            raise UsageError(
                f"there are no demonstration words for {language!r}, only for"
                f" {', '.join(DEFAULT_WORDS)}; give --words"
            )
    return {language: list(DEFAULT_WORDS[language]) for language in languages or DEFAULT_WORDS}
