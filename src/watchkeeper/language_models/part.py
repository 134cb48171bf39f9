"""Calls of language models as a part of the SDK: their options, and streams that nobody ended."""

from __future__ import annotations

from watchkeeper.language_models.call import settings, settle_abandoned
from watchkeeper.language_models.prices import Prices
from watchkeeper.logging.redaction import Redaction
from watchkeeper.parts import Part, Wiring


class LanguageModels(Part):
    """What integrations of language models share."""

    def wire(self, wiring: Wiring) -> None:
        """Takes the options."""
        options = wiring.options.models
        settings.prices = Prices(options.prices)
        settings.capture_content = options.capture_content
        settings.redact = Redaction(wiring.options.logs.redaction).text

    def every_round(self) -> None:
        """Ends what was abandoned."""
        settle_abandoned()

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """Ends what was abandoned, while it still counts; prompts are told no more."""
        settle_abandoned()
        settings.capture_content = False


language_models = LanguageModels()
