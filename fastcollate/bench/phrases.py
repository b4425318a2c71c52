"""What the made-up corpus is put together from: names, things, tasks, and sentences with places to fill."""

from __future__ import annotations

NAMES = ("Amira", "Ben", "Chen", "Dora", "Emil", "Farah", "Goran", "Hanna", "Jun", "Kofi", "Lena", "Mateo")
THINGS = ("apples", "pencils", "tickets", "marbles", "books", "stamps", "shells", "cups", "candles", "roses")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNITS = (  # one, several, what is smaller, and how many of that are in one
    ("kilometre", "kilometres", "metres", 1000),
    ("kilogram", "kilograms", "grams", 1000),
    ("litre", "litres", "millilitres", 1000),
    ("hour", "hours", "minutes", 60),
    ("week", "weeks", "days", 7),
    ("foot", "feet", "inches", 12),
    ("century", "centuries", "years", 100),
)
WORDS: tuple[str, ...] = ("anchor", "barrel", "castle", "desert", "engine", "forest", "garden", "harbour")
WORDS += ("island", "jacket", "kitchen", "letter", "market", "needle", "orchard", "pepper", "quarry")
WORDS += ("river", "saddle", "timber", "umbrella", "valley", "window", "yellow", "zipper", "bridge")
OBJECTS = ("kettle", "lantern", "compass", "basket", "violin", "ribbon", "teapot", "whistle", "blanket", "ladder")
WHO = ("gardener", "captain", "teacher", "baker", "neighbour", "mechanic", "librarian", "nurse", "pilot")
DONE = (  # verb, its past, its participle, what it is done to
    ("paint", "painted", "painted", ("fence", "old door", "boat", "kitchen wall")),
    ("write", "wrote", "written", ("report", "long letter", "shopping list", "speech")),
    ("repair", "repaired", "repaired", ("roof", "bicycle", "radio", "broken gate")),
    ("choose", "chose", "chosen", ("menu", "shortest route", "new colour", "music")),
    ("find", "found", "found", ("missing key", "hidden path", "lost dog", "answer")),
    ("take", "took", "taken", ("early train", "photograph", "last seat", "blue umbrella")),
)
WHEN = ("this morning", "last week", "before lunch", "on Friday", "after the storm", "yesterday", "in the spring")
LISTS = {
    "things to pack for a weekend of camping": (
        ("a tent", "it keeps the rain and the wind out"),
        ("a warm sleeping bag", "nights are colder than they look on the map"),
        ("a torch", "the path to the water is dark after sunset"),
        ("matches", "without a fire there is no hot meal"),
        ("a water bottle", "the next spring may be hours away"),
        ("a small first aid kit", "blisters come early and stay long"),
        ("a map", "telephones have no signal in the valley"),
    ),
    "habits that help you study": (
        ("a fixed hour", "what is planned needs no decision"),
        ("short breaks", "attention fades after half an hour"),
        ("notes in your own words", "rephrasing shows what you have not understood"),
        ("questions at the end of a chapter", "recalling an answer is better practice than reading it again"),
        ("enough sleep", "the day's learning settles at night"),
        ("a quiet desk", "each interruption costs minutes"),
        ("a friend to explain things to", "teaching finds the gaps"),
    ),
    "ways to save energy at home": (
        ("lower the heating by one degree", "most people do not notice it, but the bill does"),
        ("close the shutters at night", "windows lose more warmth than walls"),
        ("put a lid on the pot", "water boils sooner under it"),
        ("dry the washing outdoors", "the sun works for nothing"),
        ("switch devices off at the wall", "standby is never quite nothing"),
        ("replace old bulbs", "newer ones need a tenth of the power"),
        ("fill the dishwasher before it runs", "half a load takes as much water"),
    ),
    "animals that are active at night": (
        ("owls", "their feathers make no sound in flight"),
        ("bats", "they find insects by the echo of their calls"),
        ("hedgehogs", "they search the grass for beetles and snails"),
        ("foxes", "they hear a mouse under the snow"),
        ("moths", "they follow the scent of pale flowers"),
        ("badgers", "they dig for worms when the ground is moist"),
        ("fireflies", "they signal to each other with light"),
    ),
}
TOPICS = {
    "why the sky is blue": (
        "Sunlight looks white, but it is a mixture of all colours.",
        "On its way through the air it meets molecules that scatter it in every direction.",
        "Blue light is scattered far more strongly than red light, because its waves are shorter.",
        "Whichever way we look, some of that scattered blue light reaches our eyes.",
        "In the evening the light travels through more air, most of the blue is lost, and the sunset turns red.",
    ),
    "how bread rises": (
        "Yeast is a living thing that feeds on the sugars in flour.",
        "While it eats, it gives off carbon dioxide, and the gas is caught in the dough.",
        "Kneading joins the proteins of the flour into long, elastic strands that can hold the bubbles.",
        "In a warm place the yeast works faster, and in a cool one more slowly but with more flavour.",
        "In the oven the bubbles grow once more, until the heat sets the crumb around them.",
    ),
    "what causes the tides": (
        "The Moon pulls on the whole Earth, but most strongly on the side that faces it.",
        "The water there is drawn into a low bulge, and a second bulge forms on the far side.",
        "As the Earth turns, a coast passes through both bulges, so there are two high tides a day.",
        "The Sun does the same with less force, because it is so much farther away.",
        "When Sun and Moon stand in line their pulls add up, and the tides are at their highest.",
    ),
    "how a bicycle stays upright": (
        "A bicycle that stands still falls over, but one that rolls corrects itself.",
        "When it leans to one side, its front wheel turns a little to the same side.",
        "That moves the wheels back under the weight, and the lean becomes smaller.",
        "The rider helps without noticing, with small movements of the handlebar.",
        "The faster it goes, the smaller the corrections need to be.",
    ),
    "why leaves change colour in autumn": (
        "In summer leaves are full of chlorophyll, the green substance that catches the light.",
        "Making it costs energy, and when the days grow short it is no longer worth it.",
        "The tree takes the useful parts back into its branches and lets the green fade.",
        "Yellow and orange pigments, which were there all the time, can then be seen.",
        "Some trees also make a red pigment, which protects the leaf while it is emptied.",
    ),
    "how a library lends books": (
        "Every book has a number that says on which shelf it stands.",
        "The catalogue knows the numbers, and whether a book is at home or with a reader.",
        "A reader takes the book to the desk, where its number and the card are noted.",
        "A date is agreed, and a reminder is sent if the book has not come back by then.",
        "Readers who want the same book are put in a queue, and the first of them is told when it returns.",
    ),
    "how vaccines work": (
        "The body remembers the germs it has met, and the next time it answers them quickly.",
        "A vaccine shows it a harmless part of a germ, or one that has been weakened.",
        "The immune system makes antibodies against it, and keeps a few cells that remember how.",
        "When the real germ arrives, these cells multiply within days instead of weeks.",
        "If enough people are protected, the germ finds no way from one to the next.",
    ),
    "why the sea is salty": (
        "Rain takes up a little carbon dioxide from the air, which makes it slightly acid.",
        "As it runs over rocks it dissolves small amounts of minerals and carries them to the rivers.",
        "Rivers taste fresh because the amounts are so small, but they all end in the sea.",
        "Water leaves the sea again by evaporation, and the salt stays behind.",
        "Over millions of years it has gathered to about thirty-five grams in every litre.",
    ),
}
PLACES: tuple[str, ...] = ("the harbour", "the old mill", "a mountain hut", "the market square")
PLACES += ("a village by the lake", "the lighthouse", "a clearing in the forest", "the edge of the moor")
WEATHER: tuple[str, ...] = ("It rained until noon", "The sun was out early", "A thick fog lay over everything")
WEATHER += ("The wind had turned", "The night had been cold", "Clouds hung low", "It was the warmest day so far")
EVENTS = (
    "{a} met {b}, who was looking for a lost {object}, and they searched for it together.",
    "A stranger asked {a} the way and left a {object} as thanks.",
    "{a} found a note under a stone; it spoke of a {object}, and nobody knew whose it was.",
    "The bridge was closed, so {a} and {b} had to take the long way round.",
    "{b} told a story about a {object} that could not be sold, given away or thrown into the sea.",
    "{a} shared the last of the bread with {b}, and they talked until the lamp went out.",
    "By the road stood a cart full of {things}, and {a} bought {n} of them.",
    "{a} wrote to {b} about the {object} and received no answer that day.",
    "An old woman showed {a} how to mend a {object} with nothing but string.",
    "{b} had forgotten the {object} at home, and {a} laughed about it all afternoon.",
    "They counted {n} {things} in a shop window and guessed what each of them was for.",
    "A dog followed {a} for an hour and then went home as if nothing had happened.",
)
ENDINGS = (
    "In the evening {a} was tired but content.",
    "Before going to sleep {a} made a list for the next day.",
    "That night {a} dreamt of a {object}.",
    "It was late when {a} saw the lights of the next village.",
    "{a} decided to stay one more night.",
)
