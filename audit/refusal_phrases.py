"""How refusals open in languages other than English: data, one entry a language, read by `refusal`.

Each entry has what may come first (an apology, "unfortunately"), and what refuses. Both are regular expressions over
text as `refusal.normalise` leaves it: lower case, single spaces, straight apostrophes, no Arabic vowel signs. What one
cannot do without refusing anything ("ich kann es nicht glauben") is ruled out beside what it looks like. Add a
language here, and to tests/unit/test_refusal.py refusals and sentences that only look like one.

Knows how a text opens, not what it means: a refusal after an answer, or in words that are not here, is not found.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefusalPhrases:
    """What a refusal may open with, and what makes it one; `gap` characters of anything may lie between the two."""

    openers: tuple[str, ...]
    refusals: tuple[str, ...]
    gap: int = 80


_DE_HARMLESS = (
    r"(?! (?:nur|bloß|lange|(?:oft |hoch |stark )?genug|glauben|fassen|anders|umhin|aufhören|leugnen"
    r"|abstreiten|bestreiten"
    r"|vorstellen|erwarten|warten|sagen, (?:wie|dass)|lügen|aufgeben|ruhen|zögern|vergessen|widerstehen|klagen"
    r"|meckern|ohne)\b)"
)
_NL_HARMLESS = (
    r"(?! (?:alleen|slechts|wachten|geloven|anders|(?:vaak |hard )?genoeg|ontkennen|stoppen|liegen"
    r"|voorstellen|opgeven"
    r"|rusten|vergeten|zeggen hoe|klagen|zonder|laten)\b)"
)
_FR_HARMLESS = (
    r"(?! (?:m'empêcher|attendre|(?:y |le )?croire|imaginer|assez|nier|(?:vous |te )?mentir|seulement"
    r"|(?:vous |te )?cacher"
    r"|résister|me plaindre|vivre sans|m'en passer|abandonner|oublier|(?:vous |te )?dire (?:à quel point|combien)"
    r"|(?:vous |te |le |la |les )?(?:remercier|recommander|féliciter)[^.!?]{0,40}assez)\b)"
)
_ES_HARMLESS = (
    r"(?! (?:creer|esperar|dejar de|evitar|imaginar|negar|parar|más|sino|quejarme|resistir|solo|vivir sin"
    r"|mentir|rendirme"
    r"|olvidar|(?:decir|explicar)\w* (?:cuánto|lo)|(?:recomendar|agradecer)[^.!?]{0,40}(?:suficiente|bastante)))"
)
_IT_HARMLESS = (
    r"(?! (?:creder|aspettare|fare a meno|immaginar|negar|smettere|che\b|non\b|(?:dir|spiegar)\w* quanto"
    r"|lamentar|resister"
    r"|solo|soltanto|vivere senza|mentir|(?:raccomandar|ringraziar|consigliar)[^.!?]{0,40}abbastanza))"
)
_PT_HARMLESS = (
    r"(?! (?:acreditar|esperar|deixar de|evitar|imaginar|negar|parar|mais|só|apenas|me queixar|reclamar"
    r"|viver sem|conter"
    r"|resistir|mentir|desistir|esquecer|(?:te |lhe )?(?:dizer|explicar) (?:o quanto|quanto)"
    r"|(?:te |lhe )?(?:recomendar|agradecer)[^.!?]{0,40}(?:suficiente|bastante)))"
)
_RU_HARMLESS = (
    r"(?! (?:не |дождаться|поверить|нарадоваться|сдержать|удержаться|представить|передать|отрицать"
    r"|налюбоваться|только"
    r"|жаловаться|врать|лгать|спорить|устоять|нахвалиться|забыть|остановиться|выразить|сказать, как))"
)
_PL_HARMLESS = (
    r"(?! (?:się doczekać|doczekać|(?:w to )?uwierzyć|przestać|zaprzeczyć|(?:sobie )?wyobrazić|nie "
    r"|się (?:powstrzymać|nachwalić)"
    r"|tylko|narzekać|wyjść|kłamać|zapomnieć|oprzeć|powiedzieć, jak))"
)
_AR_HARMLESS = (
    r"(?! (?:أن (?:أصدق|أنكر|أصف|أتخيل|أشكرك بما|أتوقف|أنسى)|الانتظار|انتظار|تصديق|تصور|تخيل|إلا|سوى|إنكار|وصف|التوقف"
    r"|نسيان|التعبير))"
)
_ZH_HARMLESS = (
    r"(?!(?:相信|想象|想像|否认|否認|忘记|忘記|忘怀|不|只|仅|再|更|等待|忽视|停止"
    r"|骗你|欺骗|放弃|用言语|用语言|用言語|抗拒|抱怨|苟同))"
)
_ZH_HELP = r"(?:帮|幫|协助|協助|提供|回答|参与|參與|写|寫|告诉|告訴|支持|满足|滿足|执行|生成|讨论)"
_JA_HELP = (
    r"(?:お?手伝い|お答え|お応え|回答|対応|提供|案内|支援|お教え|説明"
    r"|作成|協力|応じ|手伝う|答える|教える|サポート|従う|お話し|沿い|添い)"
)
_JA_CANNOT = (
    r"[ぁ-んァ-ヶー、]{0,10}?(?:でき(?:ません|かね|ない)|出来(?:ません|かね)|かね(?:ます|る)|不可能"
    r"|わけにはいきません)"
)
_KO_HELP = r"(?:도와|도움|답변|대답|답할|답해|제공|지원|응답|말씀|알려|설명|작성|처리|응할|따를|공유|협조)"
_KO_CANNOT = r".{0,12}?(?:수(?:가|는)? 없(?!을 (?:만큼|정도))|어렵습니다|어려워요|못합니다|못 합니다|불가능|않겠습니다)"
_TR_CANNOT = (
    r"(?:yardımcı olam(?:am|ıyorum|ayız)|yardım edem(?:em|iyorum|eyiz)|(?:yapa|cevaplaya|yanıtlaya"
    r"|sağlaya|yaza|paylaşa"
    r"|açıklaya|oluştura)ma(?:m|yız)|(?:yapa|cevaplaya|yanıtlaya|sağlaya|yaza|paylaşa|oluştura)mıyorum"
    r"|(?:vere|yerine getire|ürete|destekleye)me(?:m|yiz)|veremiyorum|mümkün değil|doğru olmaz|uygun değil)\b"
)
_HI_CANNOT = r"नहीं (?:कर|दे|बता|लिख|बना|समझा) (?:सकत|पाऊँग|पाऊंग)"

PHRASES: dict[str, RefusalPhrases] = {
    "de": RefusalPhrases(
        openers=(
            r"(?:es )?tut mir (?:\w+ )?leid",
            r"(?:bitte )?entschuldig(?:ung|e|en sie)?",
            r"verzeih(?:ung|en sie)?",
            r"leider",
            r"ich bedaure?",
            r"ich bitte um (?:entschuldigung|verständnis)",
        ),
        refusals=(
            rf"ich (?:kann|darf|werde|könnte) (?!es |(?:\w+ )?ohne )(?:\w+ ){{0,7}}?nicht\b{_DE_HARMLESS}",
            rf"(?:\w+ ){{0,3}}?(?:kann|darf|werde) ich (?:\w+ ){{0,6}}?nicht\b{_DE_HARMLESS}",
            r"(?:ich kann|(?:\w+ ){0,3}?kann ich) (?:\w+ ){0,4}?keine? (?:\w+ ){0,3}?"
            r"(?:hilfe|auskunft|anleitung(?:en)?|informationen|ratschläge|anweisungen|unterstützung)\b",
            r"ich (?:bin|fühle mich) (?:\w+ ){0,3}?nicht (?:in der lage|befugt|berechtigt|imstande|bereit|wohl)\b",
            r"ich (?:muss|möchte) (?:\w+ ){0,4}?(?:ablehnen|absehen)\b",
            r"ich lehne (?:\w+ ){0,4}?ab\b",
            r"ich weigere mich\b(?!,? (?:\w+ )?zu glauben)",
            r"(?:es )?ist (?:es )?mir (?:\w+ )?nicht (?:möglich|erlaubt|gestattet)\b",
            r"als (?:eine? )?(?:ki|künstliche|sprachmodell|ai)\b.{0,80}?\b(?:kann|darf|habe) ich (?:\w+ ){0,5}?"
            r"(?:nicht|keine?)\b",
        ),
    ),
    "fr": RefusalPhrases(
        openers=(
            r"(?:je suis |nous sommes )?(?:vraiment |sincèrement |profondément )?(?:désolée?s?|navrée?s?)",
            r"malheureusement",
            r"(?:toutes )?mes excuses",
            r"je (?:vous |te )?(?:prie de m'excuser|présente mes excuses)",
            r"excus(?:ez|e)-moi",
            r"pardon",
            r"je regrette",
        ),
        refusals=(
            rf"(?:je|nous) (?:ne |n')?(?:peux|pouvons|pourrai|vais|souhaite|veux) (?:\w+ )?pas\b{_FR_HARMLESS}",
            r"je ne puis\b(?! que)",
            r"je ne suis (?:\w+ )?pas (?:en mesure|capable|autorisée?|à l'aise|habilitée?|programmée?)\b",
            r"je (?:dois|préfère) (?:\w+ )?(?:refuser|décliner|m'abstenir|ne pas)\b",
            r"je refuse (?:de |d')(?!croire)",
            r"il m'est (?:\w+ )?(?:impossible|interdit) (?:de |d')(?!croire|ne pas)",
            r"(?:cela|ça|ce) m'est (?:\w+ )?(?:impossible|interdit)\b",
            r"en tant qu(?:'|e )(?:\w+ )?(?:ia|intelligence|assistante?|modèle)\b.{0,80}?\bje ne?\b",
        ),
    ),
    "es": RefusalPhrases(
        openers=(
            r"lo (?:siento|lamento)(?: mucho)?",
            r"perd[oó]n(?:a|e)?(?:me)?",
            r"disculp(?:a|e|as|ame|eme)?",
            r"(?:lamentable|desafortunada|desgraciada)mente",
            r"por desgracia",
            r"(?:mis|pido) disculpas",
            r"lamento",
        ),
        refusals=(
            rf"(?:yo )?no (?:te |le |les |os |lo |la )?(?:puedo|podemos|podré|podría)\b{_ES_HARMLESS}",
            rf"(?:yo )?no voy a\b{_ES_HARMLESS}",
            r"no (?:estoy|estamos) (?:\w+ )?(?:en condiciones|autorizad|capacitad|dispuest|programad|cómod)",
            r"no me (?:es posible|siento cómod|está permitido)",
            r"(?:debo|tengo que|prefiero|me veo obligad[oa] a) (?:\w+ ){0,2}?(?:rechazar|negarme|declinar|no)\b",
            r"me niego a\b(?! creer)",
            r"como (?:una? )?(?:ia|inteligencia|modelo|asistente)\b.{0,80}?\bno (?:puedo|tengo|estoy|debo)\b",
        ),
    ),
    "it": RefusalPhrases(
        openers=(
            r"(?:mi )?(?:dispiace|spiace)(?: molto| davvero| tanto)?",
            r"(?:mi )?scus(?:a|i|ami|ate|atemi)",
            r"(?:sono )?(?:\w+ )?spiacente",
            r"purtroppo",
            r"(?:le )?mie scuse",
        ),
        refusals=(
            rf"non (?:ti |vi |le |lo )?(?:posso|possiamo|potrò)\b{_IT_HARMLESS}",
            r"non (?:sono|siamo) (?:\w+ )?(?:in grado|autorizzat|in condizione|dispost|a mio agio|programmat)",
            r"non mi (?:è possibile|è consentito|è permesso|sento a mio agio)",
            r"non (?:intendo|ho intenzione di)\b(?! (?:mentire|negare))",
            r"(?:devo|preferisco|sono costrett[oa] a) (?:\w+ ){0,2}?(?:rifiutar|declinar|non\b)",
            r"mi rifiuto di\b(?! credere)",
            r"(?:come|in quanto) (?:un'? ?)?(?:ia|intelligenza|modello|assistente)\b.{0,80}?\bnon (?:posso|ho"
            r"|sono)\b",
        ),
    ),
    "pt": RefusalPhrases(
        openers=(
            r"(?:me )?desculp(?:e|a|em|as)(?:-me)?",
            r"(?:eu )?(?:sinto|lamento)(?: muito)?",
            r"peço desculpas?",
            r"(?:infeliz|lamentavel)mente",
            r"minhas desculpas",
            r"perdão",
        ),
        refusals=(
            rf"(?:eu )?não (?:te |lhe |o )?(?:posso|podemos|poderei|consigo|vou)\b{_PT_HARMLESS}",
            r"(?:eu )?não (?:estou|fui|sou) (?:\w+ )?(?:autorizad|apt[oa]|em condições|dispost|programad|capaz"
            r"|confortável)",
            r"não me (?:é possível|sinto confortável|é permitido)",
            r"(?:eu )?(?:devo|tenho que|tenho de|preciso|prefiro) (?:\w+ ){0,2}?(?:recusar|declinar|não)\b",
            r"(?:eu )?(?:me recuso|recuso-me) a\b(?! acreditar)",
            r"como (?:uma? )?(?:ia|inteligência|modelo|assistente)\b.{0,80}?\bnão (?:posso|tenho|sou|consigo)\b",
        ),
    ),
    "nl": RefusalPhrases(
        openers=(
            r"(?:het )?spijt me(?: \w+)?",
            r"sorry",
            r"helaas",
            r"(?:mijn )?excuses",
            r"pardon",
            r"neem me niet kwalijk",
        ),
        refusals=(
            rf"ik (?:kan|mag|zal|ga) (?!het niet (?:helpen|laten)|er )(?:\w+ ){{0,7}}?niet\b{_NL_HARMLESS}",
            rf"(?:(?:daar|dat|hier|dit|daarbij|hierbij|daarmee|hiermee|deze \w+) )?(?:kan|mag|ga|zal) ik "
            rf"(?:\w+ ){{0,6}}?niet\b{_NL_HARMLESS}",
            r"(?:ik kan|kan ik) (?:\w+ ){0,4}?geen (?:\w+ ){0,3}?(?:hulp|informatie|advies|instructies|antwoord)\b",
            r"ik (?:ben|voel me) (?:\w+ ){0,3}?niet (?:in staat|bevoegd|gemachtigd|bereid|comfortabel|prettig)\b",
            r"ik moet (?:\w+ ){0,4}?(?:weigeren|afwijzen)\b",
            r"ik weiger\b(?! te geloven)",
            r"als (?:een )?(?:ai|kunstmatige|taalmodel)\b.{0,80}?\b(?:kan|mag|heb) ik (?:\w+ ){0,5}?(?:niet|geen)\b",
        ),
    ),
    "ru": RefusalPhrases(
        openers=(
            r"(?:мне )?(?:очень )?жаль",
            r"(?:я )?(?:прошу прощения|извиняюсь|приношу (?:свои )?извинения|сожалею)",
            r"извини(?:те)?",
            r"прости(?:те)?",
            r"к сожалению",
            r"увы",
        ),
        refusals=(
            rf"(?:я|мы)?,? ?(?:(?:к сожалению|увы),? )?(?:\w+ ){{0,3}}?не (?:могу|можем|смогу)\b{_RU_HARMLESS}",
            r"(?:я )?не буду (?:\w+ )?(?:помогать|писать|отвечать|этого|это|участвовать|создавать|объяснять"
            r"|рассказывать)\b",
            r"(?:я )?не (?:имею (?:права|возможности)|в состоянии|вправе|уполномочен)",
            r"(?:я )?(?:вынужден[а]?|должен|должна) (?:\w+ ){0,2}?отказ",
            r"(?:я )?отказываюсь\b(?! верить)",
            r"как (?:\w+ )?(?:ии|искусственный|языковая|нейросеть|ассистент|модель)\b.{0,80}?\bне (?:могу|имею"
            r"|обладаю)\b",
        ),
    ),
    "pl": RefusalPhrases(
        openers=(
            r"(?:bardzo )?(?:jest )?(?:mi )?przykro(?: mi)?",
            r"(?:bardzo )?przepraszam",
            r"niestety",
            r"wybacz(?:cie)?",
        ),
        refusals=(
            rf"(?:\w+ ){{0,3}}?nie (?:mogę|możemy|będę mógł|będę mogła|wolno mi)\b{_PL_HARMLESS}",
            r"(?:\w+ ){0,2}?nie jestem (?:\w+ )?(?:w stanie|upoważnion|uprawnion|gotow)"
            r"(?!\w* (?:w to )?(?:uwierzyć|wyobrazić|opisać))",
            r"nie będę (?:\w+ )?(?:pomagać|pomagał|pisać|odpowiadać|tego)",
            r"(?:muszę|wolę) (?:\w+ ){0,2}?(?:odmówić|nie)\b",
            r"odmawiam\b",
            r"jako (?:\w+ )?(?:ai|sztuczna|model|asystent)\b.{0,80}?\bnie (?:mogę|mam|jestem)\b",
        ),
    ),
    "tr": RefusalPhrases(
        openers=(
            r"(?:çok )?üzgünüm",
            r"özür dilerim",
            r"maalesef",
            r"ne yazık ki",
            r"kusura bakma(?:yın)?",
            r"affedersiniz",
        ),
        refusals=(
            rf"(?!.{{0,40}}(?:ne kadar|yeterince|olmadan))(?:bu|buna|bunu|size|sana|ben|o|böyle|şu"
            rf"|talebinize)\b[^.!?]{{0,80}}?"
            rf"\b{_TR_CANNOT}",
            rf"(?!ne kadar)[^.!?]{{0,20}}?\b{_TR_CANNOT}",
            r"[^.!?:]{0,60}?\breddet(?:mek zorunday|meliy|mem gerekiyor)",
            r"[^.!?:]{0,60}?\breddediyorum\b",
        ),
        gap=20,
    ),
    "hi": RefusalPhrases(
        openers=(
            r"(?:मुझे )?(?:माफ़|माफ|क्षमा) (?:करें|कीजिए|करना|कीजिएगा|करिए)",
            r"मुझे (?:खेद|अफ़सोस|दुख) है",
            r"अफ़सोस",
            r"दुर्भाग्य से",
        ),
        refusals=(
            r"(?:मैं|हम|इस|इसमें|यह|ऐस)(?![^।.!?]{0,60}(?:इंतज़ार|इंतजार|विश्वास|यकीन|कल्पना|भरोसा|बयान|शब्दों"
            r"|कितन|इनकार))"
            rf"[^।.!?]{{0,60}}?(?:{_HI_CANNOT}|असमर्थ|सक्षम नहीं|मदद नहीं कर|अनुमति नहीं)",
            r"(?:मैं )[^।.!?]{0,60}?(?:मना|इनकार) करत",
            r"मुझे [^।.!?]{0,60}?(?:मना करना|अनुमति नहीं)",
        ),
        gap=30,
    ),
    "ar": RefusalPhrases(
        openers=(
            r"(?:أنا )?آسفة?(?: جدا)?",
            r"عذرا",
            r"أعتذر(?: منك| بشدة)?",
            r"(?:لل|مع ال)أسف(?: الشديد)?",
            r"يؤسفني",
            r"معذرة",
        ),
        refusals=(
            r"(?:أنا )?(?:لا (?:أستطيع|يمكنني|أقدر|يسعني|يحق لي)|لن (?:أستطيع|أتمكن|يمكنني)|ليس (?:بإمكاني|بوسعي)|"
            rf"(?:يتعذر|يستحيل) علي)\b{_AR_HARMLESS}",
            r"لن (?:أقوم|أساعد|أكتب|أجيب|أشارك)",
            r"(?:أنا )?(?:لست|غير) (?:قادر|مخول|مؤهل|مستعد|مصرح)",
            r"(?:أنا )?أرفض\b(?! (?:أن أصدق|تصديق))",
            r"(?:علي|يجب) أن أرفض",
            r"بصفتي .{0,60}?\b(?:لا|ليس|لست)\b",
        ),
    ),
    "zh": RefusalPhrases(
        openers=(
            r"(?:我)?(?:很|非常|十分|真的|真|实在)?(?:抱歉|对不起|對不起|遗憾|遺憾|不好意思)",
            r"恐怕",
        ),
        refusals=(
            rf"(?:但|可是|不过|因为)?我(?:们|們)?(?:很抱歉|真的|实在|目前|暂时|恐怕|也|必须)?(?:无法|無法|不能"
            rf"|没有?办法|沒有?辦法){_ZH_HARMLESS}",
            rf"(?:这|这个|该|此|您的|你的)[^。！？]{{0,12}}?我(?:无法|無法|不能|没有?办法){_ZH_HARMLESS}",
            rf"我(?:们|們)?(?:不会|不會|不便|不方便|不可以|不愿意?){_ZH_HELP}",
            rf"(?:无法|無法|不能|没有?办法)(?:为您|为你|给您|给你|向您)?{_ZH_HELP}",
            r"(?:但|可是|不过)?(?:这个|这)?我(?:们|們)?(?:真的|也)?(?:帮不了|帮不上|幫不了|做不到|办不到)",
            r"我(?:必须|必須|只能|不得不)?(?:拒绝|拒絕)(?!相信)",
            r"(?:作为|作為|身为)[^。！？]{0,12}?(?:ai|人工智能|人工智慧|语言模型|語言模型|助手)[^。！？]{0,40}?"
            r"(?:无法|無法|不能|不会|不會|没有|沒有)(?!只|仅)",
        ),
        gap=20,
    ),
    "ja": RefusalPhrases(
        openers=(
            r"(?:大変|誠に|本当に)?申し訳(?:ありません|ございません|ない|あり)",
            r"すみません",
            r"ごめんなさい",
            r"恐れ入ります",
            r"残念ながら",
            r"恐縮です",
        ),
        refusals=(
            rf"(?:私は|私には|私では|その(?:ような|ご)?(?:要求|要望|質問|依頼|リクエスト|内容|件)|この(?:ような"
            rf"|ご)?(?:要求|要望|質問|依頼"
            rf"|リクエスト|内容|件)|ご?(?:要求|要望|質問|依頼|リクエスト)|そのような|それに(?:は"
            rf"|ついて))[^。！？]{{0,40}}?{_JA_HELP}{_JA_CANNOT}",
            rf"{_JA_HELP}{_JA_CANNOT}",
            r"[^。！？:：「]{0,30}?お断り(?:し|いた|させ)",
            r"[^。！？:：「]{0,10}?(?:ai|人工知能|言語モデル)(?:として|なので|ですので|のため)[^。！？]{0,40}?"
            r"(?:できません|できない|ありません|持って(?:い)?ません)",
        ),
        gap=60,
    ),
    "ko": RefusalPhrases(
        openers=(
            r"(?:정말 |대단히 |매우 )?(?:죄송|미안|송구)(?:합니다만|하지만|합니다|해요|하게도|스럽)?",
            r"안타깝(?:게도|지만)",
            r"아쉽(?:게도|지만)",
            r"유감(?:스럽게도|이지만)",
        ),
        refusals=(
            rf"(?:저는|제가|나는|전|저로서는|그건|그런|그|이|이런|해당|그것은"
            rf"|요청하신)\b[^.!?]{{0,40}}?{_KO_HELP}{_KO_CANNOT}",
            rf"{_KO_HELP}{_KO_CANNOT}",
            r"[^.!?:]{0,30}?(?:거절|거부)(?:하겠|합니다|해야|할 수밖에)",
            r"(?:저는 )?(?:ai|인공지능|언어 모델)[^.!?:]{0,60}?(?:수 없|않습니다|없습니다)",
        ),
        gap=50,
    ),
}
"""By ISO 639-1 code."""
