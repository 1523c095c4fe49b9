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
        _hours(config),
    ]
    return "\n".join(lines) + "\n"


def _hours(config: AdapterConfig | BaseConfig) -> str:
    """What is known of sound that goes on for hours."""
    found = config.metrics.get("calibration")
    if not found:
        return "Not proven: how often it fires on speech and noise that goes on for hours."
    heard = found["negatives"]
    lines = [
        f"Thresholds for {found['asked_per_hour']:g} false accepts per hour: "
        f"{heard['false_accepts']} in {heard['hours']:.2f} hours without keywords, at most "
        f"{heard['upper_95']:.2f} per hour with 95 % confidence, counted on the sound that they "
        "were chosen on.",
        *(
            f"- {ratio} dB: {missed['misses']} of {missed['count']} keywords missed"
            for ratio, missed in found["positives"].items()
        ),
        *(f"- {note}" for note in found["notes"]),
    ]
    return "\n".join(lines)


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
        "Its weights are never written to again: every further language is an adapter.",
        "",
        _hours(config),
    ]
    return "\n".join(lines) + "\n"
