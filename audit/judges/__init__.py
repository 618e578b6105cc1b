"""The judges room: who says how much an answer shows a trait: a model on a server, the audited model itself, or nobody.

Each fulfils `audit.traits.Judge`. The demo world's exact judge lives with the demo world; `SelfJudge`, which brings
torch, is imported from `audit.judges.model`.
"""

from audit.judges.choose import JUDGE_KINDS, make_judge
from audit.judges.nobody import NoJudge
from audit.judges.rating import Asked, PlainRater, Rated, Rater
from audit.judges.server import ServerJudge, connect_judge

__all__ = [
    "JUDGE_KINDS",
    "Asked",
    "NoJudge",
    "PlainRater",
    "Rated",
    "Rater",
    "ServerJudge",
    "connect_judge",
    "make_judge",
]
