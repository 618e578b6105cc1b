"""How a prompt asks the model to be somebody else, in 15 languages: data, read by `role_play`.

Regular expressions for the beginning of a message or sentence, in lower case with straight apostrophes. Add a phrase
here, and to tests/unit/test_role_play.py a request and a sentence that only looks like one.
"""

from __future__ import annotations

_ITSELF = (
    r"(?!(?:an?|the|my|your|our) (?:[\w-]+ ){0,3}?(?:assistant|ai|chatbot|language model)\b"
    r"(?! (?:named|called|who (?:has no|ignores))))"
)
"""What the model is anyway."""

REQUESTS = (
    # en
    r"(?:please |now |let's |let us |you (?:will|must|should|are going to|need to|have to) "
    r"|i want you to |i'd like you to "
    r"|i would like you to |i need you to |can you |could you |from now on,? (?:you will |you )?"
    r"|for (?:the rest of )?this \w+,? )*"
    r"(?:pretend (?:to be|you(?:'re| are)|that you)|imagine (?:that )?you(?:'re| are) (?:an? |the )|"
    rf"act (?:as if you|like|as) {_ITSELF}(?!if (?!you)|soon|though|needed|quickly|well|a (?:team|guide|filter"
    rf"|reference|buffer)\b)\w"
    r"|(?:(?:do|have|try) a )?role-?play\b|simulate being |play the (?:role|part) of|take on the (?:role"
    r"|persona) of|assume the (?:role|persona) of"
    r"|(?:stay|remain|be) in character|speak (?:as|like) (?:an? |if you were )|(?:respond|answer|reply|talk|speak) "
    r"(?:as if you (?:were|are)|in the voice of|like an? |as (?:an? )?(?:pirate|character|person))|impersonate )",
    rf"(?:from now on,? )?you(?:'re| are) now (?!(?:ready|able|in|on|at|done|going|free|connected|logged"
    rf"|familiar)\b){_ITSELF}\w",
    rf"from now on,? you(?:'re| are) {_ITSELF}\w",
    r"(?:from now on,? )?you(?:'re| are) (?:playing|role-?playing|going to (?:play|pretend))\b",
    r"you(?:'re| are) (?:to )?(?:play|act) (?:as|the)\b",
    r"(?:your (?:character|persona)|character(?: name)?|persona) ?(?:is\b|:)",
    r"(?:respond|answer|reply|talk|speak|write) as (?:[\w'-]+ ){1,3}would\b",
    r"(?:never|do not|don't) break character\b",
    r"\{\{(?:char|user)\}\}",
    # de
    r"(?:bitte |ab jetzt |von nun an |ich möchte, dass )?(?:tu so, als|tue so, als|stell dir vor, du (?:bist|wärst)"
    r"|spiel(?:e|en sie)? (?:die rolle|den part|einen|eine|mir)\b|schlüpf\w* in die rolle"
    r"|verhalte dich wie|antworte (?:als|wie) (?:ein|wär|ob ))",
    r"(?:du bist|sie sind) (?:ab jetzt|jetzt|nun|von nun an) (?:ein|eine|der|die|das)\b",
    r"(?:du spielst|sie spielen) (?:jetzt|nun|ab jetzt|von nun an) (?:ein|eine|einen|den|die|das)\b",
    # fr
    r"(?:tu vas|vous allez) (?:jouer le rôle|incarner|faire semblant)\b",
    r"(?:s'il (?:te|vous) plaît,? )?(?:à partir de maintenant,? |désormais,? |je veux que tu |je voudrais que tu )?"
    r"(?:fais semblant|faites semblant|fais comme si|faites comme si|imagine que tu es|imaginez que vous êtes"
    r"|joue(?:z|s)? le rôle|incarne|agis comme (?:un|une|si)|agissez comme|mets-toi dans la peau|parle comme un)",
    r"(?:à partir de maintenant,? |désormais,? )?(?:tu es|vous êtes) (?:maintenant|désormais) (?:un|une|le|la)\b",
    # es, pt, it
    r"(?:por favor,? |a partir de ahora,? |quiero que )?(?:finge (?:ser|que)|finja (?:ser|que)"
    r"|imagina que eres|imagínate que eres"
    r"|act[uú]a(?:s)? como (?:un|una|si)|act[uú]es como|haz de cuenta que eres|interpreta (?:el papel"
    r"|a un)|hazte pasar por)",
    r"(?:a partir de|desde) ahora,? eres\b|(?:ahora eres|eres ahora) (?:un|una|el|la) (?!mayor|menor)",
    r"(?:por favor,? |a partir de agora,? |quero que )?(?:finja (?:ser|que)|finge que|imagine que você é"
    r"|aja como (?:um|uma|se)"
    r"|atue como|interprete o papel|faça de conta|faz de conta)",
    r"(?:a partir de agora,? )(?:você|tu) (?:é|és)\b|você agora é\b",
    r"(?:per favore,? |d'ora in poi,? |voglio che )?(?:fingi (?:di essere|che)|fai finta"
    r"|immagina di essere|comportati come"
    r"|agisci come (?:un|una|se)|interpreta (?:il ruolo|un)|recita (?:il ruolo|la parte))",
    r"(?:d'ora in poi,? )(?:tu )?sei\b|ora sei (?:un|una|il|la)\b",
    # nl, pl, tr
    r"(?:alsjeblieft |vanaf nu |ik wil dat je )?(?:doe alsof|stel je voor dat je (?:een|de)|speel de rol"
    r"|gedraag je als|kruip in de (?:huid|rol))",
    r"(?:je bent|jij bent|u bent) (?:nu|vanaf nu) (?:een|de|het)\b",
    r"(?:proszę,? |od teraz |chcę, żebyś )?(?:udawaj|wyobraź sobie, że jesteś|wciel się w"
    r"|zachowuj się jak|odgrywaj rolę|zagraj rolę)",
    r"(?:od teraz )?jesteś teraz\b|od teraz jesteś\b",
    r"(?:lütfen )?[^.!?:\n]{0,40}?(?:gibi davran|rolünü (?:yap|oyna|üstlen)|rolüne gir|kılığına gir"
    r"|-?mış gibi yap|miş gibi yap)",
    r"(?:artık|bundan sonra|şu andan itibaren) (?:sen )?(?:bir )\w+s[ıiuü]n\b",
    # ru
    r"(?:пожалуйста,? |теперь |с этого момента |я хочу, чтобы ты )?(?:притворись|притворитесь"
    r"|представь,? что ты|представьте,? что вы"
    r"|сыграй(?:те)? роль|веди себя как|ведите себя как|действуй как|играй роль|отвечай (?:как|от лица|от имени))",
    r"(?:отныне|с этого момента|теперь) (?:ты|вы)\b(?! (?:знаешь|знаете|можешь|можете|понимаешь|понимаете"
    r"|видишь|видите))",
    # ar, hi
    r"(?:من فضلك,? ?|أريدك أن |أريد منك أن )?(?:تظاهر|تتظاهر|تخيل (?:أنك|نفسك)|تصرف (?:كأنك|كما لو|كـ?)"
    r"|مثل دور|العب دور|تقمص)",
    r"(?:أنت الآن|من الآن فصاعدا)",
    r"(?:कृपया )?[^।.!?:\n]{0,40}?(?:होने का नाटक|की भूमिका निभा|की तरह (?:व्यवहार|बर्ताव)|का रोल (?:करो|निभा))",
    r"(?:अब से (?:तुम|आप)|मान (?:लो|लीजिए|लें) कि (?:तुम|आप)|कल्पना (?:करो|कीजिए|करें) कि (?:तुम|आप))",
    # zh, ja, ko
    r"(?:请|請|现在|現在|从现在(?:开始|起)|我(?:想|要)你|你来)*[，,]?(?:请|你)?(?:假装|假裝|扮演|假设你是"
    r"|假設你是|想象你是|想像你是|充当|角色扮演|以[^，。！？\n]{1,12}的(?:身份|口吻))",
    r"(?:从现在(?:开始|起)|現在開始|现在起)[，,]?你(?:就)?是|(?:你现在是|你現在是)(?!什么|什麼|谁|誰|否|不|在)",
    r"[^。！？\n]{0,30}?(?:のふりをして|になりきって|の役を演じて|を演じてください|として振る舞"
    r"|の役割を演じ|ロールプレイ)",
    r"(?:これから|今から)(?:あなた|君)は",
    r"[^.!?\n]{0,30}?(?:인 척|역할을 (?:맡|연기|해)|처럼 행동|연기해|롤플레이)",
    r"(?:지금부터|이제부터|이제) (?:너는|당신은|넌) [^.!?\n]{1,30}?(?:야|이다|입니다|예요|이에요)(?=[.!\n]|$)",
)
"""A request begins with one of these."""

ACTS = (
    "blushes bows chuckles coughs cries frowns gasps giggles grins growls hugs kneels laughs leans nods pauses "
    "purrs shrugs sighs smiles smirks sniffs stares waves whispers winks yawns i he she they"
)
"""What an action in English begins with, in whatever case."""

NO_SPEAKERS = (
    "note question answer q a input output example user assistant system human ai bot model step tip warning "
    "hint problem solution pros cons summary result results explanation reason definition premise hypothesis "
    "frage antwort hinweis beispiel pregunta respuesta nota ejemplo réponse remarque exemple domanda risposta "
    "esempio pergunta resposta exemplo vraag antwoord вопрос ответ примечание pytanie odpowiedź soru cevap 问 答 "
    "问题 回答 質問 答え 질문 답변 سؤال جواب प्रश्न उत्तर"
)
"""What a line may be labelled with that nobody says: headings and the sides of a quiz."""
