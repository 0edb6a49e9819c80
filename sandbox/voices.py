"""The languages that each carrier's voices speak.

Sources: twilio.com/docs/voice/twiml/say/text-speech, plivo.com/docs/voice/concepts/ssml,
plivo.com/docs/voice/xml/audio-output, developers.telnyx.com/docs/voice/programmable-voice/texml-verbs/say (2026-11-29).
"""

DEFAULT = "en-US"
POLLY = {
    "Joanna": ("en-US",),
    "Amy": ("en-GB",),
    "Nicole": ("en-AU",),
    "Raveena": ("en-IN",),
    "Vicki": ("de-DE",),
    "Lea": ("fr-FR",),
    "Chantal": ("fr-CA",),
    "Conchita": ("es-ES",),
    "Mia": ("es-MX",),
    "Penelope": ("es-US",),
    "Carla": ("it-IT",),
    "Vitoria": ("pt-BR",),
    "Ines": ("pt-PT",),
    "Lotte": ("nl-NL",),
    "Naja": ("da-DK",),
    "Astrid": ("sv-SE",),
    "Liv": ("nb-NO",),
    "Dora": ("is-IS",),
    "Ewa": ("pl-PL",),
    "Carmen": ("ro-RO",),
    "Tatyana": ("ru-RU",),
    "Filiz": ("tr-TR",),
    "Mizuki": ("ja-JP",),
    "Seoyeon": ("ko-KR",),
    "Zhiyu": ("cmn-CN",),
    "Aditi": ("hi-IN", "en-IN"),
    "Gwyneth": ("cy-GB",),
}
"""The voices of Amazon Polly that all three carriers have; the first language is the voice's own."""
BASIC = {
    "twilio": "en en-US en-GB es fr de it",
    "plivo": "da-DK de-DE en-AU en-GB en-US es-ES es-US fr-CA fr-FR it-IT nl-NL pl-PL pt-BR pt-PT ru-RU sv-SE",
    "telnyx": "en-US",
}
"""The languages of the voices `man` and `woman`, the default."""


def language_of(carrier: str, voice: str, language: str) -> str | None:
    """The language that is heard if a document asks for this voice and language, each of which may be empty; None if
    the carrier does not have the voice or the voice does not speak the language."""
    kind, _, name = voice.partition(".")
    if kind == "Polly":
        spoken: tuple[str, ...] = POLLY.get(name, ())
    elif kind.lower() in ("", "man", "woman") and not name:
        spoken = (DEFAULT, *BASIC[carrier].split())
    else:
        spoken = ()
    return next((known for known in spoken if language in ("", known)), None)
