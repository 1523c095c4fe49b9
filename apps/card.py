"""Cards: what a base or an adapter is, what it was measured on, what is not proven."""

from kws.adapter import AdapterConfig
from kws.base import BaseConfig


def card(config: AdapterConfig) -> str:
    """Markdown for people; the numbers stand in the configuration too."""
    figures = config.metrics["validation"]
    worst = figures["worst_speaker"]
    lines = [
        f"# Keyword adapter: {config.language}",
        "",
        f"For the base pretrained on {config.base_language}, SHA-256 `{config.base_sha256}`.",
        "",
        f"- Words: {', '.join(config.labels)}",
        f"- Method {config.method}, budget {config.budget or 'none'}: "
        f"{config.spent_parameters:,} replaced parameters in {len(config.sites)} sites, "
        f"{config.head_parameters:,} in the head, {config.stored_bytes:,} bytes stored",
        f"- Accuracy {figures['accuracy']:.1%} over {figures['count']} validation clips of people "
        "not trained on",
        f"- Worst speaker: {worst['speaker']} with {worst['accuracy']:.1%}" if worst else "",
        f"- Licences of the recordings: {', '.join(config.licences) or 'not stated'}",
        "",
        "Not proven: how often it fires on speech and noise that goes on for hours.",
    ]
    return "\n".join(line for line in lines) + "\n"


def base_card(config: BaseConfig) -> str:
    """Markdown for people; the numbers stand in the configuration too."""
    lines = [
        f"# Keyword base: {config.language}",
        "",
        f"{config.architecture} with tau {config.tau:g}, SHA-256 `{config.sha256}`.",
        "",
        f"- Words: {', '.join(config.labels)}",
        f"- Parameters: {config.metrics['parameters']:,}",
        f"- Accuracy {config.metrics['validation_accuracy']:.1%} over the keywords' validation "
        "clips, of people not trained on",
        f"- Licences of the recordings: {', '.join(config.licences) or 'not stated'}",
        "",
        "It is never written to again: every further language is an adapter.",
    ]
    return "\n".join(lines) + "\n"
