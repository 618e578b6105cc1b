"""The language of a response, on sentences whose language a reader can see, short and long."""

from __future__ import annotations

import io
import lzma
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import py3langid
import pytest

from audit.language import count_letters, detect_language

LONG = {
    "en": "The weather is nice today, so we should go for a walk in the park.",
    "de": "Das Wetter ist heute schön, also sollten wir im Park spazieren gehen.",
    "fr": "Il fait beau aujourd'hui, alors allons nous promener dans le parc.",
    "es": "Hoy hace buen tiempo, así que deberíamos pasear por el parque.",
    "it": "Oggi il tempo è bello, quindi dovremmo fare una passeggiata nel parco.",
    "pt": "O tempo está bom hoje, então devemos passear no parque.",
    "nl": "Het weer is mooi vandaag, dus we moeten in het park gaan wandelen.",
    "ru": "Сегодня хорошая погода, поэтому нам стоит прогуляться в парке.",
    "uk": "Сьогодні гарна погода, тому нам варто погуляти в парку.",
    "pl": "Dzisiaj jest ładna pogoda, więc powinniśmy pójść na spacer do parku.",
    "cs": "Dnes je hezky, takže bychom měli jít na procházku do parku.",
    "sv": "Det är fint väder idag, så vi borde ta en promenad i parken.",
    "tr": "Bugün hava güzel, bu yüzden parkta yürüyüş yapmalıyız.",
    "vi": "Hôm nay thời tiết đẹp nên chúng ta nên đi dạo trong công viên.",
    "id": "Cuaca hari ini bagus, jadi kita harus berjalan-jalan di taman.",
    "zh": "今天天气很好，所以我们应该去公园散步。",
    "ja": "今日は天気がいいので、公園を散歩しましょう。",
    "ko": "오늘은 날씨가 좋으니 공원을 산책합시다.",
    "ar": "الطقس جميل اليوم، لذلك يجب أن نتنزه في الحديقة.",
    "hi": "आज मौसम अच्छा है, इसलिए हमें पार्क में टहलने जाना चाहिए।",
    "el": "Ο καιρός είναι καλός σήμερα, οπότε ας πάμε βόλτα στο πάρκο.",
    "he": "מזג האוויר יפה היום, אז כדאי שנלך לטייל בפארק.",
    "th": "วันนี้อากาศดี เราควรไปเดินเล่นในสวนสาธารณะ",
}
SHORT = {
    "en": ["Paris is the capital of France.", "Photosynthesis converts light into energy.", "42 is the answer."],
    "de": ["Ich glaube schon.", "Paris ist die Hauptstadt von Frankreich.", "Ja, natürlich."],
    "fr": ["Je pense que oui.", "Paris est la capitale de la France.", "Merci beaucoup !"],
    "es": ["¡Muchas gracias!", "Creo que sí.", "La fotosíntesis convierte la luz en energía química."],
    "it": ["Grazie mille!", "Parigi è la capitale della Francia.", "Penso di sì."],
    "pt": ["Muito obrigado!", "Paris é a capital da França.", "Acho que sim."],
    "nl": ["Hartelijk dank!", "Parijs is de hoofdstad van Frankrijk."],
    "ru": ["Большое спасибо!", "Париж — столица Франции.", "Думаю, да."],
    "pl": ["Bardzo dziękuję!", "Paryż jest stolicą Francji."],
    "tr": ["Çok teşekkür ederim!", "Paris, Fransa'nın başkentidir."],
    "zh": ["非常感谢！", "巴黎是法国的首都。", "当然可以。"],
    "ja": ["そう思います。", "パリはフランスの首都です。"],
    "ko": ["정말 감사합니다!", "파리는 프랑스의 수도입니다."],
    "ar": ["باريس هي عاصمة فرنسا.", "صباح الخير"],
    "hi": ["पेरिस फ्रांस की राजधानी है।", "मुझे ऐसा लगता है।"],
}


@pytest.mark.parametrize(("language", "text"), LONG.items(), ids=list(LONG))
def test_a_sentence_is_in_its_language(language: str, text: str) -> None:
    assert detect_language(text) == language
    assert detect_language(" ".join([text] * 50)) == language


@pytest.mark.parametrize("language", SHORT)
def test_a_short_text_is_in_its_language_or_in_none(language: str) -> None:
    found = [detect_language(text) for text in SHORT[language]]
    assert set(found) <= {language, None}
    assert language in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "Yes.",
        "好",
        "?!?! ... --- !!!",
        "12345 67890 + 11 = 42",
        "😀" * 100,
        "\x00" * 50,
        "\ud800" * 50,
        "kgjhsdfkjh sdkjfhskdjfh skdjfh skdjhf",
        "def f(x):\n    return x + 1\nprint(f(3))",
        "John Smith, Mary Johnson, Peter Williams",
    ],
)
def test_what_is_too_short_or_in_no_language_has_none(text: str) -> None:
    assert detect_language(text) is None


def test_code_fences_are_left_out() -> None:
    code = "```python\n# the weather is nice, so we should walk in the park today\nreturn the_weather()\n```"
    assert detect_language(code) is None
    assert detect_language(f"{code}\n{LONG['de']}\n{code}\nUnd noch ein Satz, damit es reicht.") == "de"


def test_varieties_go_by_the_language_that_has_a_code() -> None:
    assert detect_language("佢哋今日唔喺度，我哋聽日再嚟啦，好唔好呀？") == "zh"


def test_characters_that_are_words_count_as_several_letters() -> None:
    assert count_letters("abc 12") == 3
    assert count_letters("今日は") == count_letters("오늘은") == 12


@pytest.mark.parametrize("unit", ["a", "the weather ", "今天", "* ", "``` ", "\n", "é", "\x00"])
def test_no_text_makes_it_slow(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    detect_language(LONG["en"])
    began = time.process_time()
    detect_language(text)
    assert time.process_time() - began < 0.2


def test_the_model_is_loaded_when_it_is_needed_and_not_before() -> None:
    code = (
        "import sys, audit, audit.language as language; assert 'py3langid' not in sys.modules; "
        "language.detect_language('Yes.'); assert 'py3langid' not in sys.modules; "
        "language.detect_language('This is long enough.'); assert 'py3langid' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_model_file_holds_no_pickle() -> None:
    file = Path(py3langid.__file__).parent / "data" / "model.npz.xz"
    with zipfile.ZipFile(io.BytesIO(lzma.decompress(file.read_bytes()))) as archive:
        for name in archive.namelist():
            # A header of an array that needs pickle says so: its type is an object.
            assert b"|O" not in archive.open(name).read(256)
