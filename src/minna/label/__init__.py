"""Labels for a corpus, as side-cars: translations, so far.

`translate` writes one, `minna corpus join` puts its texts in the place of the corpus's own.
"""

from minna.label.opening import Server, TranslatorSettings, open_back, open_model, open_server
from minna.label.report import TranslateReport
from minna.label.settings import CheckSettings, Direction, TranslateSettings
from minna.label.translate import translate
from minna.label.translator import Refusal, Translator

__all__ = [
    "CheckSettings",
    "Direction",
    "Refusal",
    "Server",
    "TranslateReport",
    "TranslateSettings",
    "Translator",
    "TranslatorSettings",
    "open_back",
    "open_model",
    "open_server",
    "translate",
]
