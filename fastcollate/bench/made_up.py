"""A made-up corpus: instructions and answers put together by seeded rules, the same on every machine.

The number of words of a record is drawn first, log-normally as in real instruction data. Then a task is drawn that
has use for so many words.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from fastcollate.bench.phrases import (
    DAYS,
    DONE,
    ENDINGS,
    EVENTS,
    LISTS,
    NAMES,
    OBJECTS,
    PLACES,
    THINGS,
    TOPICS,
    UNITS,
    WEATHER,
    WHEN,
    WHO,
    WORDS,
)

Record = dict[str, str]
Made = tuple[str, str, str]  # instruction, input, output

_MEDIAN_WORDS, _SPREAD, _MOST_WORDS = 40, 1.0, 640


def make_corpus(count: int = 2000, *, seed: int = 0) -> list[Record]:
    """Return `count` records with `instruction`, `input` (sometimes empty) and `output`.

    Args:
        count: The number of records; the first of a larger corpus are those of a smaller one.
        seed: The number that decides which records are made.

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
    one, several, smaller, factor = random.choice(UNITS)
    n = random.randint(2, 60)
    rule = f"1 {one} has {factor:,} {smaller}" if random.random() < 0.3 else ""
    answer = f"{n} {several} are {n * factor:,} {smaller}."
    return f"How many {smaller} are there in {n} {several}?", rule, answer


def _spelling(random: Random, _: int) -> Made:
    word = random.choice(WORDS)
    if random.random() < 0.5:
        return "Spell the word backwards.", word, word[::-1]
    return "How many letters does the word have?", word, f'"{word}" has {len(word)} letters.'


def _remainder(random: Random, _: int) -> Made:
    (a, b), things = random.sample(NAMES, 2), random.choice(THINGS)
    had, gave = random.randint(20, 90), random.randint(2, 19)
    question = f"{a} has {had} {things} and gives {gave} of them to {b}. How many are left?"
    return question, "", f"{a} gave away {gave} of {had} {things}: {had} - {gave} = {had - gave} are left."


def _sorting(random: Random, words: int) -> Made:
    chosen = random.sample(WORDS, min(len(WORDS), 4 + words // 4))
    return "Sort these words alphabetically.", ", ".join(chosen), ", ".join(sorted(chosen))


def _passive(random: Random, words: int) -> Made:
    given, answer = [], []
    for _ in range(1 + words // 18):
        _, past, participle, objects = random.choice(DONE)
        who, what, when = random.choice(WHO), random.choice(objects), random.choice(WHEN)
        given.append(f"The {who} {past} the {what} {when}.")
        answer.append(f"The {what} was {participle} by the {who} {when}.")
    return "Rewrite the text in the passive voice.", " ".join(given), " ".join(answer)


def _questions(random: Random, words: int) -> Made:
    given, answer = [], []
    for _ in range(1 + words // 18):
        verb, past, _, objects = random.choice(DONE)
        who, what, when = random.choice(WHO), random.choice(objects), random.choice(WHEN)
        given.append(f"The {who} {past} the {what} {when}.")
        answer.append(f"Did the {who} {verb} the {what} {when}?")
    return "Turn each statement into a question.", " ".join(given), " ".join(answer)


def _sales(random: Random, words: int) -> Made:
    things = random.choice(THINGS)
    sold = [random.randint(3, 60) for _ in range(min(7, 2 + words // 12))]
    lines = [f"{day}: {n} {things}" for day, n in zip(DAYS, sold, strict=False)]
    answer = f"{' + '.join(map(str, sold))} = {sum(sold)}, so {sum(sold)} {things} were sold."
    return f"How many {things} were sold in all?", "\n".join(lines), answer


def _list(random: Random, words: int) -> Made:
    title = random.choice(tuple(LISTS))
    items = random.sample(LISTS[title], min(7, 3 + words // 40))
    lines = [f"{i}. {item[0].upper()}{item[1:]}: {why}." for i, (item, why) in enumerate(items, 1)]
    return f"Name {len(items)} {title}, with a remark on each.", "", "\n".join(lines)


def _explanation(random: Random, words: int) -> Made:
    topics = random.sample(tuple(TOPICS), min(len(TOPICS), 1 + words // 110))
    if len(topics) == 1:
        sentences = TOPICS[topics[0]][: max(2, words // 14)]
        return f"Explain {topics[0]}.", "", " ".join(sentences)
    text = "\n\n".join(f"{i}. {t[0].upper()}{t[1:]}\n{' '.join(TOPICS[t])}" for i, t in enumerate(topics, 1))
    return f"Write a guide for children that explains {', '.join(topics[:-1])} and {topics[-1]}.", "", text


def _story(random: Random, words: int) -> Made:
    (a, b), place = random.sample(NAMES, 2), random.choice(PLACES)
    asked = random.choice(("Write a story about {} and {}.", "Tell me what happened to {} and {}."))
    return asked.format(a, b), "", _tell(random, a, b, place, words)


def _diary(random: Random, words: int) -> Made:
    (a, b), place = random.sample(NAMES, 2), random.choice(PLACES)
    told = _tell(random, a, b, place, words)
    days = told.count("\n\n") + 1
    lasted = "a day" if days == 1 else f"{days} days"
    answer = f"{a} travelled for {lasted}, beginning at {place}, and spent part of the time with {b}."
    return "Summarise the diary in one sentence.", told, answer


def _tell(random: Random, a: str, b: str, place: str, words: int) -> str:
    """A day or more, each with its weather, two or three events and an evening."""
    days = []
    for day in range(1, 2 + words // 65):
        start = "{a} set out from {place}." if day == 1 else f"On day {day} they came to {random.choice(PLACES)}."
        events = random.sample(EVENTS, random.randint(2, 3))
        lines = [f"{random.choice(WEATHER)}.", start, *events, random.choice(ENDINGS)]
        days.append(" ".join(_fill(random, line, a=a, b=b, place=place) for line in lines))
    return "\n\n".join(days)


def _fill(random: Random, line: str, **names: str) -> str:
    n = random.randint(3, 40)
    return line.format(object=random.choice(OBJECTS), things=random.choice(THINGS), n=n, **names)


_Maker = Callable[[Random, int], Made]
_SHORT: tuple[_Maker, ...] = (_arithmetic, _conversion, _spelling, _remainder, _sorting)
_MIDDLE: tuple[_Maker, ...] = (_sorting, _passive, _questions, _sales, _list, _explanation, _remainder)
_LONG: tuple[_Maker, ...] = (_passive, _list, _explanation, _story, _story, _diary)
