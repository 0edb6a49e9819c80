"""The languages in which a call can be answered, and the voice that speaks each.

One table serves all carriers: each of these voices of Amazon Polly, with this code of its language, is known to Twilio
(https://www.twilio.com/docs/voice/twiml/say/text-speech and the voices of twilio-node), Plivo
(https://www.plivo.com/docs/voice/concepts/ssml) and Telnyx (the languages of its SDK's `alice` voice, and
https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs/say). All read 2026-11-29.

Telnyx ignores the language of a Polly voice, so the voice alone decides there; docs/answering.md says what is doubtful.
"""

DEFAULT_LANGUAGE = "en-US"
VOICES = {
    "cmn-CN": "Polly.Zhiyu",
    "cy-GB": "Polly.Gwyneth",
    "da-DK": "Polly.Naja",
    "de-DE": "Polly.Vicki",
    "en-AU": "Polly.Nicole",
    "en-GB": "Polly.Amy",
    "en-IN": "Polly.Raveena",
    "en-US": "Polly.Joanna",
    "es-ES": "Polly.Conchita",
    "es-MX": "Polly.Mia",
    "es-US": "Polly.Penelope",
    "fr-CA": "Polly.Chantal",
    "fr-FR": "Polly.Lea",
    "hi-IN": "Polly.Aditi",
    "is-IS": "Polly.Dora",
    "it-IT": "Polly.Carla",
    "ja-JP": "Polly.Mizuki",
    "ko-KR": "Polly.Seoyeon",
    "nb-NO": "Polly.Liv",
    "nl-NL": "Polly.Lotte",
    "pl-PL": "Polly.Ewa",
    "pt-BR": "Polly.Vitoria",
    "pt-PT": "Polly.Ines",
    "ro-RO": "Polly.Carmen",
    "ru-RU": "Polly.Tatyana",
    "sv-SE": "Polly.Astrid",
    "tr-TR": "Polly.Filiz",
}
# Another common code for the same language: ours.
ALIASES = {"zh-CN": "cmn-CN"}
