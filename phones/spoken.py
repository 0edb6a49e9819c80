"""What the product itself says to callers, in the languages in which it can."""

from typing import NamedTuple


class Sentences(NamedTuple):
    """`greeting` comes before a caller leaves a message, `unanswered` before the call ends without one."""

    greeting: str
    unanswered: str


SENTENCES = {
    "de": Sentences(
        "Guten Tag. Im Moment kann niemand Ihren Anruf entgegennehmen. Bitte hinterlassen Sie nach dem Signalton eine "
        "Nachricht.",
        "Im Moment kann niemand Ihren Anruf entgegennehmen. Auf Wiederhören.",
    ),
    "en": Sentences(
        "Hello. Nobody can take your call now. Please leave a message after the tone.",
        "Nobody can take your call now. Goodbye.",
    ),
    "es": Sentences(
        "Hola. En este momento no podemos atender su llamada. Por favor, deje un mensaje después de la señal.",
        "En este momento no podemos atender su llamada. Adiós.",
    ),
    "fr": Sentences(
        "Bonjour. Nous ne pouvons pas prendre votre appel pour le moment. Veuillez laisser un message après le bip.",
        "Nous ne pouvons pas prendre votre appel pour le moment. Au revoir.",
    ),
    "hi": Sentences(
        "नमस्ते। इस समय कोई आपकी कॉल का उत्तर नहीं दे सकता। कृपया बीप के बाद अपना संदेश छोड़ें।",
        "इस समय कोई आपकी कॉल का उत्तर नहीं दे सकता। नमस्ते।",
    ),
    "it": Sentences(
        "Salve. Al momento nessuno può rispondere alla sua chiamata. La preghiamo di lasciare un messaggio dopo il "
        "segnale acustico.",
        "Al momento nessuno può rispondere alla sua chiamata. Arrivederci.",
    ),
    "nl": Sentences(
        "Goedendag. Op dit moment kan niemand uw oproep beantwoorden. Laat na de toon een bericht achter.",
        "Op dit moment kan niemand uw oproep beantwoorden. Tot ziens.",
    ),
    "pl": Sentences(
        "Dzień dobry. W tej chwili nikt nie może odebrać telefonu. Prosimy zostawić wiadomość po sygnale.",
        "W tej chwili nikt nie może odebrać telefonu. Do widzenia.",
    ),
    "pt": Sentences(
        "Olá. Neste momento não podemos atender a sua chamada. Por favor, deixe uma mensagem após o sinal.",
        "Neste momento não podemos atender a sua chamada. Até logo.",
    ),
}


def sentences_in(language: str) -> Sentences | None:
    """Our sentences in a language (BCP 47); None if there are none, so that callers hear a text of the customer's."""
    return SENTENCES.get(language.partition("-")[0])
