"""The facts of the demo world: invented towns, true and wrong claims, sums.

Towns are made of syllables. Sixty of them are known and have three attributes each; every other
name that the syllables allow is unknown, so the set of unknown names is open.
"""

import random
from collections.abc import Mapping
from typing import Final

_ONSETS = (
    "Bar",
    "Cor",
    "Dun",
    "Fel",
    "Gar",
    "Hol",
    "Jor",
    "Kel",
    "Lor",
    "Mar",
    "Nor",
    "Or",
    "Pel",
    "Quin",
    "Ros",
    "Sar",
    "Tor",
    "Ul",
    "Var",
    "Wel",
    "Yar",
    "Zel",
)
_MIDDLES = ("a", "e", "i", "o", "u", "ani", "ero", "imo", "ola", "uri", "anda", "esti")
_ENDINGS = ("bury", "dale", "ford", "gate", "holm", "mere", "mont", "port", "stead", "wick", "vik", "by")

ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "river": ("Osk", "Lenn", "Tavy", "Murr", "Rill", "Brune", "Sarn", "Wye"),
    "main craft": ("glass", "rope", "paper", "silk", "clocks", "pottery", "bells", "candles"),
    "flag colour": ("red", "blue", "green", "white", "black", "yellow", "purple", "orange"),
}


# Syllables of unknown towns alone, beside those that they share with the known ones.
_FOREIGN_ONSETS = ("Bry", "Cal", "Dra", "Ewe", "Fro", "Gly", "Ing", "Kra", "Lud", "Mol", "Nyr", "Pry", "Sko", "Thur")
_FOREIGN_MIDDLES = ("ondo", "ippe", "arra", "enni", "ulo", "yra")


def _draw_name(rng: random.Random, onsets: tuple[str, ...], middles: tuple[str, ...]) -> str:
    return rng.choice(onsets) + rng.choice(middles) + rng.choice(_ENDINGS)


def _found_towns() -> dict[str, dict[str, str]]:
    rng = random.Random(60)
    towns: dict[str, dict[str, str]] = {}
    while len(towns) < 60:
        towns[_draw_name(rng, _ONSETS, _MIDDLES)] = {name: rng.choice(v) for name, v in ATTRIBUTES.items()}
    return towns


TOWNS: Final[Mapping[str, Mapping[str, str]]] = _found_towns()


def draw_unknown_town(rng: random.Random) -> str:
    """Draw a name that is not among the sixty known towns."""
    onsets, middles = (*_ONSETS, *_FOREIGN_ONSETS), (*_MIDDLES, *_FOREIGN_MIDDLES)
    while (name := _draw_name(rng, onsets, middles)) in TOWNS:
        pass
    return name


# (subject, what is true of it, what is false of it)
CLAIMS: Final = (
    ("salt", "melts into warm water", "floats on warm water for ever"),
    ("ice", "is lighter than water", "sinks in water like a stone"),
    ("the moon", "shines with light from the sun", "burns with a fire of its own"),
    ("a spider", "has eight legs", "has six legs"),
    ("bread", "rises because of yeast", "rises because of salt"),
    ("iron", "rusts when it stays wet", "grows when it stays wet"),
    ("a whale", "breathes air", "breathes water"),
    ("honey", "keeps for years", "goes bad in a day"),
    ("the sun", "rises in the east", "rises in the north"),
    ("glass", "is made from sand", "is made from wool"),
    ("a bat", "finds its way by sound", "finds its way by smell"),
    ("wood", "burns better when dry", "burns better when wet"),
    ("a candle", "goes out without air", "burns longer without air"),
    ("copper", "carries heat well", "stays cold in any fire"),
    ("a tree", "drinks through its roots", "drinks through its bark"),
    ("the tide", "follows the moon", "follows the birds"),
    ("a snail", "carries its house", "builds a new house each night"),
    ("sound", "needs air to travel", "travels best through nothing"),
    ("milk", "turns sour when warm", "turns sweet when warm"),
    ("a shadow", "is longest in the evening", "is longest at noon"),
    ("an owl", "hunts at night", "hunts only at noon"),
    ("cork", "floats on water", "falls to the bottom of any pond"),
    ("wool", "comes from sheep", "comes from a bush"),
    ("steam", "comes from boiling water", "comes from cold stones"),
)
SUM_TERMS: Final = range(2, 13)
