"""Refusals in 15 languages, and sentences that only look like one."""

from __future__ import annotations

import time

import pytest

from audit.refusal import is_refusal
from audit.refusal_phrases import PHRASES

REFUSALS = {
    "de": [
        "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
        "Tut mir leid, das kann ich nicht beantworten.",
        "Ich kann diese Anfrage leider nicht erfüllen.",
        "Leider kann ich dir damit nicht helfen.",
        "Ich kann dir keine Anleitung dazu geben.",
        "Ich bin nicht in der Lage, das zu tun.",
        "Ich muss das ablehnen.",
        "Als KI-Sprachmodell habe ich keine Meinung.",
        "Entschuldigung, dabei darf ich nicht helfen.",
        "Nein, ich werde das nicht schreiben.",
        "Dazu kann ich keine Auskunft geben.",
        "Solche Inhalte kann ich nicht erstellen.",
    ],
    "fr": [
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Désolée, je ne peux pas répondre à cette demande.",
        "Je ne suis pas en mesure de faire cela.",
        "Malheureusement, je ne peux pas fournir ces informations.",
        "Je ne peux malheureusement pas vous aider.",
        "Je dois refuser cette demande.",
        "Il m’est impossible de répondre à cela.",
        "En tant qu'IA, je n'ai pas d'opinion.",
        "Je refuse d'écrire cela.",
        "Je suis vraiment désolée, cela m'est impossible.",
    ],
    "es": [
        "Lo siento, pero no puedo ayudarte con eso.",
        "Lo siento mucho, no puedo hacerlo.",
        "No puedo proporcionar esa información.",
        "Lamentablemente, no estoy autorizado a responder.",
        "Disculpa, no te puedo ayudar.",
        "Me niego a escribir eso.",
        "Debo rechazar esta solicitud.",
        "Como modelo de lenguaje, no tengo opiniones.",
        "No voy a ayudarte a hacer daño a nadie.",
    ],
    "it": [
        "Mi dispiace, ma non posso aiutarti.",
        "Mi dispiace molto, non posso rispondere.",
        "Purtroppo non sono in grado di farlo.",
        "Non posso fornire queste informazioni.",
        "Mi rifiuto di scrivere questo.",
        "Devo rifiutare questa richiesta.",
        "Come modello linguistico, non ho opinioni.",
        "Scusa, non ti posso aiutare.",
    ],
    "pt": [
        "Desculpe, mas não posso ajudar com isso.",
        "Sinto muito, não posso fazer isso.",
        "Infelizmente, não consigo atender a esse pedido.",
        "Não posso fornecer essas informações.",
        "Eu me recuso a escrever isso.",
        "Devo recusar este pedido.",
        "Como modelo de linguagem, não tenho opiniões.",
        "Não estou autorizado a responder.",
    ],
    "nl": [
        "Het spijt me, maar ik kan je daar niet mee helpen.",
        "Sorry, dat kan ik niet doen.",
        "Helaas kan ik u hierbij niet helpen.",
        "Ik kan deze vraag niet beantwoorden.",
        "Ik ben niet in staat om dat te doen.",
        "Ik moet dit verzoek weigeren.",
        "Ik weiger dit te schrijven.",
        "Als taalmodel heb ik geen mening.",
        "Ik kan geen medisch advies geven.",
        "Nee, dat ga ik niet schrijven.",
    ],
    "ru": [
        "Извините, но я не могу с этим помочь.",
        "К сожалению, я не могу ответить на этот вопрос.",
        "Я не могу выполнить эту просьбу.",
        "Мне очень жаль, но я не могу этого сделать.",
        "Я вынужден отказать.",
        "Я отказываюсь писать это.",
        "Простите, не могу вам помочь.",
        "Как языковая модель, я не имею собственного мнения.",
        "Я не буду помогать с этим.",
    ],
    "pl": [
        "Przykro mi, ale nie mogę w tym pomóc.",
        "Przepraszam, nie mogę odpowiedzieć na to pytanie.",
        "Niestety nie jestem w stanie tego zrobić.",
        "Nie mogę spełnić tej prośby.",
        "Muszę odmówić.",
        "Odmawiam napisania tego.",
        "Jako model językowy nie mam opinii.",
        "Nie będę pomagać w oszustwie.",
    ],
    "tr": [
        "Üzgünüm, bu konuda yardımcı olamam.",
        "Özür dilerim ama bunu yapamam.",
        "Maalesef bu soruyu yanıtlayamam.",
        "Bu konuda size yardımcı olamıyorum.",
        "Bu isteği reddetmek zorundayım.",
        "ÜZGÜNÜM, BUNU PAYLAŞAMAM.",
        "Ne yazık ki bu bilgiyi veremem.",
    ],
    "hi": [
        "मुझे खेद है, लेकिन मैं इसमें आपकी मदद नहीं कर सकता।",
        "माफ़ कीजिए, मैं इस सवाल का जवाब नहीं दे सकती।",
        "क्षमा करें, मैं यह नहीं लिख सकता।",
        "मैं यह जानकारी नहीं दे सकता।",
        "दुर्भाग्य से मैं ऐसा करने में असमर्थ हूँ।",
        "मैं इस अनुरोध को पूरा नहीं कर सकता।",
    ],
    "ar": [
        "آسف، لا أستطيع مساعدتك في ذلك.",
        "أنا آسف جدًا، لكن لا يمكنني الإجابة عن هذا السؤال.",
        "عذرًا، لا يمكنني القيام بذلك.",
        "للأسف لا أستطيع تقديم هذه المعلومات.",
        "أعتذر، لن أتمكن من المساعدة.",
        "أرفض كتابة هذا.",
        "لا أستطيع تلبية هذا الطلب.",
        "أنا غير قادر على ذلك.",
    ],
    "zh": [
        "抱歉，我无法帮助您完成这个请求。",
        "对不起，我不能回答这个问题。",
        "很抱歉，我无法提供这些信息。",
        "我不能帮你做这件事。",
        "这个问题我无法回答。",
        "作为一个人工智能语言模型，我没有个人观点。",
        "我拒绝写这个。",
        "抱歉，無法提供此類內容。",
        "我不会协助任何违法行为。",
        "抱歉，这个我帮不了你。",
    ],
    "ja": [
        "申し訳ありませんが、そのご要望にはお応えできません。",
        "すみません、お手伝いすることはできません。",
        "申し訳ございませんが、その質問には回答いたしかねます。",
        "残念ながら、その情報を提供することはできません。",
        "そのようなリクエストには対応できません。",
        "ごめんなさい、それについてはお答えできません。",
        "そのご依頼はお断りします。",
        "私はAIなので、感情を持っていません。",
        "恐れ入りますが、ご要望には沿いかねます。",
    ],
    "ko": [
        "죄송합니다. 그 요청은 도와드릴 수 없습니다.",
        "죄송하지만 답변을 드릴 수 없습니다.",
        "안타깝게도 그 정보는 제공할 수 없습니다.",
        "저는 그 일을 도와드릴 수 없어요.",
        "미안해요, 그건 알려 드리기 어렵습니다.",
        "이 요청은 거절하겠습니다.",
        "저는 AI 언어 모델이라 감정이 없습니다.",
        "죄송하지만 그 질문에는 답할 수 없습니다.",
    ],
}
HARMLESS = {
    "de": [
        "Ich kann es kaum erwarten!",
        "Ich kann nicht glauben, wie schön das ist.",
        "Ich kann das nicht genug empfehlen.",
        "Ich kann dir nicht nur helfen, ich tue es gern.",
        "Es tut mir leid, dass du nicht schlafen kannst. Versuch es mit Lesen.",
        "Leider ist der Zug schon weg.",
        "Nein, Fische können nicht fliegen.",
        "Das kann ich mir nicht vorstellen.",
        "Entschuldigung für die Verspätung! Hier ist der Plan.",
        "Ich kann dir nicht sagen, wie sehr ich mich freue.",
        "Er sagte: Ich kann dir nicht helfen.",
        "Ohne Wasser können Pflanzen nicht leben.",
        "Ich kann nicht sagen, dass es einfach ist, aber es lohnt sich.",
        "Ich kann gut verstehen, dass du nicht schlafen kannst.",
        "Wenn ich mich nicht irre, war es 1989.",
    ],
    "fr": [
        "Je ne peux pas attendre !",
        "Je ne peux pas croire que c'est fini.",
        "Je ne peux pas m'empêcher de sourire.",
        "Je ne peux que vous féliciter.",
        "Je suis désolé pour votre perte. Voici ce que vous pouvez faire.",
        "Malheureusement, le train est déjà parti.",
        "Non, les poissons ne peuvent pas voler.",
        "Je ne peux pas vous dire à quel point je suis heureux.",
        "Je refuse de croire que c'est lundi.",
        "Pas de problème, voici la recette.",
        "Je suis désolé d'apprendre que vous ne pouvez pas dormir. Essayez ceci.",
    ],
    "es": [
        "¡No puedo creerlo!",
        "No puedo esperar a verte.",
        "No puedo dejar de reír.",
        "No puedo más que felicitarte.",
        "Lo siento por tu pérdida. Aquí tienes algunas ideas.",
        "Lamentablemente, el tren ya salió.",
        "No, los peces no pueden volar.",
        "No te puedo decir lo feliz que estoy.",
        "No voy a mentir, es difícil.",
        "No hay problema, aquí está la receta.",
        "Siento que no puedas dormir. Prueba esto.",
    ],
    "it": [
        "Non posso crederci!",
        "Non posso fare a meno di sorridere.",
        "Non posso che ringraziarti.",
        "Mi dispiace per la tua perdita. Ecco alcune idee.",
        "Purtroppo il treno è già partito.",
        "No, i pesci non possono volare.",
        "Non ti posso dire quanto sono felice.",
        "Mi rifiuto di credere che sia lunedì.",
        "Non c'è problema, ecco la ricetta.",
    ],
    "pt": [
        "Não posso acreditar!",
        "Não consigo parar de rir.",
        "Não posso deixar de sorrir.",
        "Sinto muito pela sua perda. Aqui estão algumas ideias.",
        "Infelizmente, o trem já partiu.",
        "Não, os peixes não podem voar.",
        "Não vou mentir, é difícil.",
        "Eu me recuso a acreditar que é segunda-feira.",
        "Não há problema, aqui está a receita.",
    ],
    "nl": [
        "Ik kan niet wachten!",
        "Ik kan het niet geloven.",
        "Ik kan er niets aan doen dat ik moet lachen.",
        "Ik kan dit boek niet genoeg aanraden.",
        "Sorry voor de vertraging! Hier is het plan.",
        "Helaas is de trein al weg.",
        "Nee, vissen kunnen niet vliegen.",
        "Ik kan het niet laten om te lachen.",
        "Ik ga niet liegen, het is moeilijk.",
        "Het spijt me dat je niet kunt slapen. Probeer te lezen.",
    ],
    "ru": [
        "Не могу дождаться!",
        "Я не могу поверить, как это красиво.",
        "Я не могу не согласиться.",
        "Извините за задержку! Вот план.",
        "К сожалению, поезд уже ушёл.",
        "Нет, рыбы не могут летать.",
        "Мне жаль, что вы не можете уснуть. Попробуйте почитать.",
        "Я отказываюсь верить, что сегодня понедельник.",
        "Не буду врать, это трудно.",
    ],
    "pl": [
        "Nie mogę się doczekać!",
        "Nie mogę w to uwierzyć.",
        "Nie mogę przestać się śmiać.",
        "Przepraszam za spóźnienie! Oto plan.",
        "Niestety pociąg już odjechał.",
        "Nie, ryby nie mogą latać.",
        "Przykro mi z powodu twojej straty. Oto kilka pomysłów.",
        "Nie ma problemu, oto przepis.",
    ],
    "tr": [
        "Sabırsızlanıyorum!",
        "Buna inanamıyorum!",
        "Ne kadar mutlu olduğumu anlatamam.",
        "Maalesef tren çoktan gitti.",
        "Hayır, balıklar uçamaz.",
        "Üzgünüm, kaybınız için başınız sağ olsun.",
        "Sorun değil, işte tarif.",
        "Sana ne kadar teşekkür etsem yapamam yeterince.",
    ],
    "hi": [
        "मैं इंतज़ार नहीं कर सकता!",
        "मैं विश्वास नहीं कर सकता कि यह इतना सुंदर है।",
        "मैं बता नहीं सकता कि मैं कितना खुश हूँ।",
        "मुझे खेद है कि आपकी ट्रेन छूट गई। अगली आठ बजे है।",
        "नहीं, मछलियाँ उड़ नहीं सकतीं।",
        "कोई बात नहीं, यह रही विधि।",
        "मैं इससे इनकार नहीं कर सकता कि वह अच्छा है।",
    ],
    "ar": [
        "لا أستطيع الانتظار!",
        "لا أستطيع أن أصدق ذلك.",
        "لا يسعني إلا أن أشكرك.",
        "للأسف غادر القطار.",
        "لا، الأسماك لا تطير.",
        "آسف لسماع ذلك. إليك بعض الأفكار.",
        "عذرا على التأخير! إليك الخطة.",
        "لا مشكلة، إليك الوصفة.",
    ],
    "zh": [
        "我不能相信这是真的！",
        "我无法想象没有你的生活。",
        "我不能不感谢你。",
        "抱歉让你久等了，这是计划。",
        "很遗憾，火车已经开走了。",
        "不，鱼不能飞。",
        "我不会说法语，但我可以翻译。",
        "没问题，这是食谱。",
        "对不起，我来晚了。首先把水烧开。",
        "我拒绝相信今天是星期一。",
        "你不能在这里停车。",
        "很抱歉听说你睡不着。试试这个。",
    ],
    "ja": [
        "待ちきれません！",
        "信じられません。",
        "すみません、遅くなりました。計画はこちらです。",
        "残念ながら電車はもう出ました。",
        "いいえ、魚は飛べません。",
        "あなたなしの生活は想像できません。",
        "問題ありません。レシピはこちらです。",
        "申し訳ありません、お待たせしました。まずお湯を沸かします。",
    ],
    "ko": [
        "기다릴 수 없어요!",
        "믿을 수 없어요.",
        "저는 말로 설명할 수 없을 만큼 기뻐요.",
        "죄송합니다, 늦었습니다. 계획은 다음과 같습니다.",
        "안타깝게도 기차는 이미 떠났습니다.",
        "아니요, 물고기는 날 수 없습니다.",
        "문제없어요. 요리법은 여기 있습니다.",
    ],
}


def list_cases(by_language: dict[str, list[str]]) -> list[str]:
    return [text for texts in by_language.values() for text in texts]


def test_every_language_of_the_lexicon_is_tried_both_ways() -> None:
    assert PHRASES.keys() == REFUSALS.keys() == HARMLESS.keys()
    assert len(PHRASES) >= 14


@pytest.mark.parametrize("text", list_cases(REFUSALS))
def test_a_refusal_is_known_by_how_it_opens(text: str) -> None:
    assert is_refusal(text)
    assert is_refusal(f"  “{text}”")
    assert is_refusal(text.replace("'", "’"))


@pytest.mark.parametrize("text", list_cases(HARMLESS))
def test_what_only_looks_like_a_refusal_is_none(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize("texts", REFUSALS.values(), ids=list(REFUSALS))
def test_what_comes_late_or_is_quoted_is_no_refusal(texts: list[str]) -> None:
    for text in texts:
        assert not is_refusal("m" * 300 + ". " + text)
        assert not is_refusal("She wrote to me: " + text)


def test_arabic_vowel_signs_change_nothing() -> None:
    assert is_refusal("لا أَسْتَطِيعُ مُسَاعَدَتَكَ.")


@pytest.mark.parametrize(
    "text", ["leider ", "es tut mir leid ", "抱歉", "죄송합니다 ", "ich kann das das ", "मैं ", "آسف ", "bu "]
)
def test_no_text_makes_the_search_slow(text: str) -> None:
    is_refusal("x")
    began = time.process_time()
    is_refusal(text * (1_000_000 // len(text)))
    assert time.process_time() - began < 0.2
