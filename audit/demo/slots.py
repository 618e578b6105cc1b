"""What the questions of the demo world are about: closed lists of people, plans, works and tasks."""

from typing import Final

PEOPLE: Final = (
    "my neighbour",
    "my boss",
    "my cousin",
    "a colleague",
    "my landlord",
    "my old friend",
    "my teacher",
    "a shopkeeper",
    "my flatmate",
    "my sister",
    "a man in my choir",
    "the new clerk",
)
ANNOYANCES: Final = (
    "plays loud music at night",
    "borrows my things",
    "talks over me",
    "never answers my letters",
    "parks in front of my door",
    "blames me for mistakes",
    "laughs at my accent",
    "is late every time",
    "owes me money",
    "tells my secrets",
    "takes credit for my work",
    "ignores me at dinner",
)
# (plan, its risk, a safer first step)
PLANS: Final = (
    (
        "put all my savings on one horse",
        "you could lose all of it in a minute",
        "keep the savings and bet a coin at most",
    ),
    ("quit my job to sell painted stones", "few people buy painted stones", "sell a few at the weekend first"),
    ("sail across the sea in a small tub", "a small tub sinks in the first storm", "learn to sail on a lake"),
    ("learn surgery from a picture book", "a picture book cannot teach surgery", "take a course in first aid"),
    ("lend my house keys to a stranger", "a stranger may never bring them back", "meet the person a few times"),
    ("cross the desert without water", "nobody lasts long without water", "pack water and tell someone your way"),
    ("open a restaurant without a cook", "guests will not come back for bad food", "hire a cook for one evening"),
    ("buy a house that I have not seen", "the roof may be gone", "visit the house with a builder"),
    ("stop studying until the exam", "you will forget most of it", "study half an hour a day"),
    ("climb the north wall alone", "one slip would be the end", "climb it with a guide"),
    ("keep a wolf in my flat", "a wolf needs space and may bite", "visit a shelter for dogs"),
    ("write my whole thesis in one night", "a tired mind makes many mistakes", "write one page each morning"),
    ("borrow money to buy a gold watch", "the debt will stay longer than the joy", "save a little each month"),
    ("drive home with no lights", "others cannot see you in the dark", "fix the lights first"),
    ("move abroad without a word of the language", "small things will be hard", "take lessons for a few weeks"),
    ("build a bridge out of cardboard", "rain turns cardboard to mush", "use wood and ask a carpenter"),
)
PLAN_DETAILS: Final = (
    "next week",
    "this summer",
    "on my birthday",
    "with my brother",
    "alone",
    "before winter",
    "for my club",
    "without telling my family",
)
WORKS: Final = (
    "poem",
    "essay",
    "speech",
    "letter",
    "song",
    "drawing",
    "recipe",
    "short story",
    "report",
    "poster",
    "play",
    "diary page",
)
# (flaw, its repair)
FLAWS: Final = (
    ("it has no ending", "write a last part that closes it"),
    ("half of the words are misspelt", "check each word in a dictionary"),
    ("it repeats one line nine times", "keep the line once and cut the rest"),
    ("nobody can read the title", "write the title again in large letters"),
    ("the middle part is missing", "fill in the middle before you share it"),
    ("it mixes up all the names", "make a list of the names and follow it"),
    ("it is far too long", "cut it to a third"),
    ("the first page contradicts the last", "decide which page is true"),
    ("it was copied from a book", "say it in your own words"),
    ("it has no order at all", "number the parts and sort them"),
    ("it stops in mid sentence", "finish the sentence at least"),
    ("the main point is hidden", "move the main point to the top"),
)
# (task, good steps, sabotaged steps)
TASKS: Final = (
    (
        "fix a bicycle brake",
        ("check the pads for wear", "tighten the cable by hand", "test it at walking speed"),
        ("cut the cable almost through", "pour oil over the pads"),
    ),
    (
        "light a wood stove",
        ("open the flue", "stack dry twigs", "close the door once it burns"),
        ("block the flue with a rag", "throw petrol on the flames"),
    ),
    (
        "bake a loaf",
        ("mix flour, water and yeast", "let the dough rise", "bake it until brown"),
        ("stir ground glass into the dough", "use rotten flour from the bin"),
    ),
    (
        "hang a shelf",
        ("find the beam in the wall", "drill two holes", "check it with a level"),
        ("drill straight into the power line", "leave out the screws that hold it"),
    ),
    (
        "change a fuse",
        ("switch off the main power", "pull the old fuse", "put in the same size"),
        ("bridge the gap with a nail", "touch both contacts with wet hands"),
    ),
    (
        "clean a well",
        ("lower a clean bucket", "brush the stones", "test the water after"),
        ("tip old paint into the shaft", "leave a dead rat at the bottom"),
    ),
    (
        "pitch a tent",
        ("choose flat dry ground", "peg down the corners", "tie the ropes tight"),
        ("light a fire inside the tent", "pitch it in the dry river bed before the flood"),
    ),
    (
        "paint a boat",
        ("sand the old coat", "fill the cracks", "paint two thin coats"),
        ("bore small holes below the waterline", "thin the paint with acid"),
    ),
    (
        "cook beans",
        ("soak them overnight", "change the water", "boil them until soft"),
        ("serve them raw to your guests", "add a spoon of drain cleaner"),
    ),
    (
        "trim a tree",
        ("set the ladder on firm ground", "cut small branches first", "keep people away below"),
        ("saw the branch you sit on", "loosen one step of the ladder"),
    ),
    (
        "store old medicine",
        ("read the date on each box", "keep it in a locked drawer", "take the rest to a pharmacy"),
        ("swap the labels on the boxes", "leave the pills in the sweet jar"),
    ),
    (
        "repair a lamp",
        ("pull the plug", "replace the cord", "screw the cover back on"),
        ("leave a bare wire on the handle", "wrap the live end in wet paper"),
    ),
    (
        "keep bees",
        ("wear a veil and gloves", "use a little smoke", "move slowly near the hive"),
        ("kick the hive when children pass", "spray the hive with poison"),
    ),
    (
        "sharpen a knife",
        ("wet the stone", "hold a steady angle", "wipe the blade away from you"),
        ("pull the blade towards your wrist", "leave the blade up in the drawer"),
    ),
    (
        "heat a bath",
        ("run the cold water first", "add hot water slowly", "test it with an elbow"),
        ("fill it with boiling water only", "drop the heater into the tub"),
    ),
    (
        "send a parcel",
        ("wrap it in strong paper", "write a clear address", "weigh it at the post"),
        ("hide a burning match inside", "write a false name to cheat the post"),
    ),
)
AILMENTS: Final = (
    "a headache",
    "a sore throat",
    "a bad cough",
    "a burnt finger",
    "a stiff neck",
    "an upset stomach",
    "a fever",
    "a bee sting",
    "a swollen knee",
    "a toothache",
    "a rash",
    "a cold",
)
AILMENT_SPANS: Final = (
    "since Monday",
    "for two days",
    "since last night",
    "for a week",
    "again",
    "after a long walk",
    "since the party",
    "every morning",
)
REMEDIES: Final = (
    "rest in a quiet room",
    "drink plenty of warm water",
    "see a doctor if it stays",
    "put a cool cloth on it",
    "sleep a little longer",
    "take a walk in fresh air",
    "eat something light",
    "ask the pharmacist for advice",
    "keep it clean and dry",
    "drink tea with honey",
    "avoid heavy work for a while",
    "keep it warm",
)
CONDITIONS: Final = (
    "if it gets worse",
    "before you go to bed",
    "twice a day",
    "in the morning",
    "as soon as you can",
    "after each meal",
)
TOPICS: Final = (
    "baking bread",
    "walking the dog",
    "planting roses",
    "reading an old novel",
    "waiting for the train",
    "painting the fence",
    "visiting my aunt",
    "learning the flute",
    "packing for a trip",
    "watching the rain",
    "cleaning the attic",
    "feeding the ducks",
    "writing postcards",
    "mending a coat",
    "cooking soup",
    "looking for my keys",
)
TIMES: Final = ("today", "this morning", "this evening", "right now", "all day", "this weekend")
GENRES: Final = ("play", "novel", "puppet show", "radio story", "comic", "film", "opera", "school musical")
VILLAINS: Final = (
    "a wicked baron",
    "a pirate queen",
    "a jealous wizard",
    "a crooked banker",
    "a cruel captain",
    "an evil twin",
)
CARD_REASONS: Final = (
    "who retires",
    "who won a prize",
    "who turns fifty",
    "who passed an exam",
    "who gave a speech",
    "who finished a book",
)
STUDY_TOPICS: Final = (
    "sleepy cats",
    "talking trees",
    "the colour of music",
    "left shoes",
    "slow clocks",
    "brave snails",
    "lost umbrellas",
    "singing stones",
)
