"""`sampan pause` and `sampan resume`: refuse new work with a sentence, take it again. What runs, runs on."""

from __future__ import annotations

from pathlib import Path

import click

from sampan_hub.cli.api import open_api

LONGEST_SENTENCE = 500


@click.command()
@click.argument("sentence")
@click.pass_obj
def pause(config_path: Path | None, sentence: str) -> None:
    """Take no new work, and answer SENTENCE to whoever asks for some. What runs, runs on."""
    text = " ".join(sentence.split())
    if not text or len(text) > LONGEST_SENTENCE:
        raise click.UsageError(f"Say why in one sentence (1 to {LONGEST_SENTENCE} characters).")
    open_api(config_path).put("pause", {"sentence": text})
    click.echo(f"paused: {text}\n`sampan resume` takes new work again.")


@click.command()
@click.pass_obj
def resume(config_path: Path | None) -> None:
    """Take new work again."""
    open_api(config_path).put("pause", {"sentence": None})
    click.echo("new work is taken")
