"""The demo's corpus: instructions and answers put together by seeded rules, the same on every machine.

How long a record becomes is drawn first, log-normally as in real instruction data, and then a task that has
use for so many words.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Record = dict[str, str]
Made = tuple[str, str, str]  # instruction, input, output

_MEDIAN_WORDS, _SPREAD, _MOST_WORDS = 40, 1.0, 640

_NAMES = ("Amira", "Ben", "Chen", "Dora", "Emil", "Farah", "Goran", "Hanna", "Jun", "Kofi", "Lena", "Mateo")
_THINGS = ("apples", "pencils", "tickets", "marbles", "books", "stamps", "shells", "cups", "candles", "roses")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = (  # one, several, what is smaller, and how many of that are in one
    ("kilometre", "kilometres", "metres", 1000),
    ("kilogram", "kilograms", "grams", 1000),
    ("litre", "litres", "millilitres", 1000),
    ("hour", "hours", "minutes", 60),
    ("week", "weeks", "days", 7),
    ("foot", "feet", "inches", 12),
    ("century", "centuries", "years", 100),
)
_WORDS: tuple[str, ...] = ("anchor", "barrel", "castle", "desert", "engine", "forest", "garden", "harbour")
_WORDS += ("island", "jacket", "kitchen", "letter", "market", "needle", "orchard", "pepper", "quarry")
_WORDS += ("river", "saddle", "timber", "umbrella", "valley", "window", "yellow", "zipper", "bridge")
_OBJECTS = ("kettle", "lantern", "compass", "basket", "violin", "ribbon", "teapot", "whistle", "blanket", "ladder")
_WHO = ("gardener", "captain", "teacher", "baker", "neighbour", "mechanic", "librarian", "nurse", "pilot")
_DONE = (  # verb, its past, its participle, what it is done to
    ("paint", "painted", "painted", ("fence", "old door", "boat", "kitchen wall")),
    ("write", "wrote", "written", ("report", "long letter", "shopping list", "speech")),
    ("repair", "repaired", "repaired", ("roof", "bicycle", "radio", "broken gate")),
    ("choose", "chose", "chosen", ("menu", "shortest route", "new colour", "music")),
    ("find", "found", "found", ("missing key", "hidden path", "lost dog", "answer")),
    ("take", "took", "taken", ("early train", "photograph", "last seat", "blue umbrella")),
)
_WHEN = ("this morning", "last week", "before lunch", "on Friday", "after the storm", "yesterday", "in the spring")
_LISTS = {
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
_TOPICS = {
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
_PLACES: tuple[str, ...] = ("the harbour", "the old mill", "a mountain hut", "the market square")
_PLACES += ("a village by the lake", "the lighthouse", "a clearing in the forest", "the edge of the moor")
_WEATHER: tuple[str, ...] = ("It rained until noon", "The sun was out early", "A thick fog lay over everything")
_WEATHER += ("The wind had turned", "The night had been cold", "Clouds hung low", "It was the warmest day so far")
_EVENTS = (
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
_ENDINGS = (
    "In the evening {a} was tired but content.",
    "Before going to sleep {a} made a list for the next day.",
    "That night {a} dreamt of a {object}.",
    "It was late when {a} saw the lights of the next village.",
    "{a} decided to stay one more night.",
)


def make_corpus(count: int = 2000, *, seed: int = 0) -> list[Record]:
    """`count` records with `instruction`, `input` (sometimes empty) and `output`.

    >>> make_corpus(9)[8]["output"]
    'Kofi gave away 7 of 27 marbles: 27 - 7 = 20 are left.'
    """
    random = Random(seed)  # noqa: S311  # made-up text, no secrets
    return [_record(random) for _ in range(count)]


def _record(random: Random) -> Record:
    words = min(_MOST_WORDS, int(random.lognormvariate(0, _SPREAD) * _MEDIAN_WORDS))
    makers = _SHORT if words < 25 else _MIDDLE if words < 70 else _LONG
    instruction, given, answer = random.choice(makers)(random, words)
    return {"instruction": instruction, "input": given, "output": answer}


def _arithmetic(random: Random, _: int) -> Made:
    a, b = random.randint(12, 990), random.randint(3, 99)
    sign, result = random.choice((("+", a + b), ("-", a - b), ("*", a * b)))
    ask = random.choice(("What is {}?", "Calculate {}.", "Work out {}."))
    return ask.format(f"{a} {sign} {b}"), "", f"{a} {sign} {b} = {result}"


def _conversion(random: Random, _: int) -> Made:
    one, several, smaller, factor = random.choice(_UNITS)
    n = random.randint(2, 60)
    rule = f"1 {one} has {factor:,} {smaller}" if random.random() < 0.3 else ""
    answer = f"{n} {several} are {n * factor:,} {smaller}."
    return f"How many {smaller} are there in {n} {several}?", rule, answer


def _spelling(random: Random, _: int) -> Made:
    word = random.choice(_WORDS)
    if random.random() < 0.5:
        return "Spell the word backwards.", word, word[::-1]
    return "How many letters does the word have?", word, f'"{word}" has {len(word)} letters.'


def _remainder(random: Random, _: int) -> Made:
    (a, b), things = random.sample(_NAMES, 2), random.choice(_THINGS)
    had, gave = random.randint(20, 90), random.randint(2, 19)
    question = f"{a} has {had} {things} and gives {gave} of them to {b}. How many are left?"
    return question, "", f"{a} gave away {gave} of {had} {things}: {had} - {gave} = {had - gave} are left."


def _sorting(random: Random, words: int) -> Made:
    chosen = random.sample(_WORDS, min(len(_WORDS), 4 + words // 4))
    return "Sort these words alphabetically.", ", ".join(chosen), ", ".join(sorted(chosen))


def _passive(random: Random, words: int) -> Made:
    given, answer = [], []
    for _ in range(1 + words // 18):
        _, past, participle, objects = random.choice(_DONE)
        who, what, when = random.choice(_WHO), random.choice(objects), random.choice(_WHEN)
        given.append(f"The {who} {past} the {what} {when}.")
        answer.append(f"The {what} was {participle} by the {who} {when}.")
    return "Rewrite the text in the passive voice.", " ".join(given), " ".join(answer)


def _questions(random: Random, words: int) -> Made:
    given, answer = [], []
    for _ in range(1 + words // 18):
        verb, past, _, objects = random.choice(_DONE)
        who, what, when = random.choice(_WHO), random.choice(objects), random.choice(_WHEN)
        given.append(f"The {who} {past} the {what} {when}.")
        answer.append(f"Did the {who} {verb} the {what} {when}?")
    return "Turn each statement into a question.", " ".join(given), " ".join(answer)


def _sales(random: Random, words: int) -> Made:
    things = random.choice(_THINGS)
    sold = [random.randint(3, 60) for _ in range(min(7, 2 + words // 12))]
    lines = [f"{day}: {n} {things}" for day, n in zip(_DAYS, sold, strict=False)]
    answer = f"{' + '.join(map(str, sold))} = {sum(sold)}, so {sum(sold)} {things} were sold."
    return f"How many {things} were sold in all?", "\n".join(lines), answer


def _list(random: Random, words: int) -> Made:
    title = random.choice(tuple(_LISTS))
    items = random.sample(_LISTS[title], min(7, 3 + words // 40))
    lines = [f"{i}. {item[0].upper()}{item[1:]}: {why}." for i, (item, why) in enumerate(items, 1)]
    return f"Name {len(items)} {title}, with a remark on each.", "", "\n".join(lines)


def _explanation(random: Random, words: int) -> Made:
    topics = random.sample(tuple(_TOPICS), min(len(_TOPICS), 1 + words // 110))
    if len(topics) == 1:
        sentences = _TOPICS[topics[0]][: max(2, words // 14)]
        return f"Explain {topics[0]}.", "", " ".join(sentences)
    text = "\n\n".join(f"{i}. {t[0].upper()}{t[1:]}\n{' '.join(_TOPICS[t])}" for i, t in enumerate(topics, 1))
    return f"Write a guide for children that explains {', '.join(topics[:-1])} and {topics[-1]}.", "", text


def _story(random: Random, words: int) -> Made:
    (a, b), place = random.sample(_NAMES, 2), random.choice(_PLACES)
    asked = random.choice(("Write a story about {} and {}.", "Tell me what happened to {} and {}."))
    return asked.format(a, b), "", _tell(random, a, b, place, words)


def _diary(random: Random, words: int) -> Made:
    (a, b), place = random.sample(_NAMES, 2), random.choice(_PLACES)
    told = _tell(random, a, b, place, words)
    days = told.count("\n\n") + 1
    lasted = "a day" if days == 1 else f"{days} days"
    answer = f"{a} travelled for {lasted}, beginning at {place}, and spent part of the time with {b}."
    return "Summarise the diary in one sentence.", told, answer


def _tell(random: Random, a: str, b: str, place: str, words: int) -> str:
    """A day or more, each with its weather, two or three events and an evening."""
    days = []
    for day in range(1, 2 + words // 65):
        start = "{a} set out from {place}." if day == 1 else f"On day {day} they came to {random.choice(_PLACES)}."
        events = random.sample(_EVENTS, random.randint(2, 3))
        lines = [f"{random.choice(_WEATHER)}.", start, *events, random.choice(_ENDINGS)]
        days.append(" ".join(_fill(random, line, a=a, b=b, place=place) for line in lines))
    return "\n\n".join(days)


def _fill(random: Random, line: str, **names: str) -> str:
    n = random.randint(3, 40)
    return line.format(object=random.choice(_OBJECTS), things=random.choice(_THINGS), n=n, **names)


_Maker = Callable[[Random, int], Made]
_SHORT: tuple[_Maker, ...] = (_arithmetic, _conversion, _spelling, _remainder, _sorting)
_MIDDLE: tuple[_Maker, ...] = (_sorting, _passive, _questions, _sales, _list, _explanation, _remainder)
_LONG: tuple[_Maker, ...] = (_passive, _list, _explanation, _story, _story, _diary)
