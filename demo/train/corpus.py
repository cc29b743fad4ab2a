"""The demo model's language: text generated from templates, seeded.

Four kinds of document: indirect-object sentences (ABBA and BABA, five conjunctions), gendered
pronouns after names, repeated random word lists (induction), and two of these in a row.
"""

import random

FEMALE = """Mary Alice Amy Anna Emily Eva Jane Jennifer Jessica Julia Kate Laura Lisa Maria Michelle Rachel
Rose Sarah Victoria Amanda Clara Diana Elena Fiona Grace Helen Irene Karen Linda Nora Olivia Paula Sofia
Theresa Wendy Genevieve Rosalind Philippa Katarzyna Oluchi Xanthe""".split()
MALE = """John Adam Alan Andrew Anthony Arthur Brian Carl Daniel David Edward Eric Frank George Henry Ian Jack
James Kevin Luke Mark Martin Michael Patrick Paul Peter Richard Robert Ryan Simon Thomas Tom Walter William
Bartholomew Thelonious Maximilian Sebastian Yevgeny Quentin Zbigniew""".split()
# Left out of the tokenizer's training text, so that they take several tokens each.
RARE = {"Genevieve", "Rosalind", "Philippa", "Katarzyna", "Oluchi", "Xanthe", "Theresa", "Olivia",
        "Bartholomew", "Thelonious", "Maximilian", "Sebastian", "Yevgeny", "Quentin", "Zbigniew", "Patrick", "Walter"}
NAMES = FEMALE + MALE
GENDER = {**{n: "She" for n in FEMALE}, **{n: "He" for n in MALE}}

PLACES = "store shops garden restaurant school hospital office house station park museum library market beach".split()
OBJECTS = "ring bone basketball computer necklace drink snack bag book letter ball flower ticket key camera gift".split()
JOBS = "photographer teacher doctor pilot painter writer singer lawyer farmer baker".split()
SURNAMES = "Heyman Smith Cooper Miller Baker Stone Hill Young King Carter Fisher Wood".split()
ADJECTIVES = "quiet famous young old happy tired busy clever".split()
DAYS = "Monday Tuesday Friday Sunday".split()

CONJUNCTIONS = ["and", "with", "alongside", "beside", "plus"]
CONJUNCTION_WEIGHTS = [6, 2, 2, 1, 1]

# {A}, {B}: the two names in order of mention, {c}: conjunction, {S}: subject, {IO}: indirect object.
IOI = [
    "When {A} {c} {B} went to the {place}, {S} gave the {object} to {IO}",
    "When {A} {c} {B} got a {object} at the {place}, {S} decided to give it to {IO}",
    "Then, {A} {c} {B} went to the {place}. {S} gave a {object} to {IO}",
    "Then, {A} {c} {B} had a lot of fun at the {place}. {S} gave a {object} to {IO}",
    "After {A} {c} {B} went to the {place}, {S} gave a {object} to {IO}",
    "While {A} {c} {B} were working at the {place}, {S} gave the {object} to {IO}",
    "Then, {A} {c} {B} had a long argument, and afterwards {S} said to {IO}",
    "On {day} {A} {c} {B} were at the {place}. {S} wanted to give a {object} to {IO}",
]
PRONOUN = [
    "{N} {surname}, professional {job}. {P} works at the {place}.",
    "{N} went to the {place}. {P} bought a {object}.",
    "{N} is a {adj} {job}. {P} has a {object}.",
    "On {day} {N} lost the {object}. {P} was {adj}.",
    "Yesterday {N} was at the {place}. {P} found a {object}.",
    "At the {place} {N} said nothing. {P} was {adj}.",
]


def held_out(a, b):
    """True for name pairs kept out of training (about 15%, either order)."""
    x, y = sorted((a, b))
    h = 2166136261
    for ch in (x + "|" + y).encode():
        h = ((h ^ ch) * 16777619) & 0xFFFFFFFF
    return (h >> 8) % 100 < 15


def pair(rng, first, want_held_out):
    """Two different names whose first tokens differ; first: name -> first token."""
    while True:
        a, b = rng.sample(NAMES, 2)
        if held_out(a, b) == want_held_out and first[a] != first[b]:
            return a, b


def ioi(rng, first, want_held_out=False, order=None, conjunction=None, template=None):
    a, b = pair(rng, first, want_held_out)
    order = order or rng.choice(["ABBA", "BABA"])
    subject, io = (b, a) if order == "ABBA" else (a, b)
    c = conjunction or rng.choices(CONJUNCTIONS, CONJUNCTION_WEIGHTS)[0]
    t = rng.randrange(len(IOI)) if template is None else template
    text = IOI[t].format(A=a, B=b, c=c, S=subject, IO=io, place=rng.choice(PLACES), object=rng.choice(OBJECTS),
                         day=rng.choice(DAYS))
    prompt = text[: -len(io) - 1]
    return {"text": text + ".", "prompt": prompt, "io": io, "s": subject, "order": order, "conjunction": c, "template": t}


def pronoun(rng, name=None, template=None):
    name = name or rng.choice(NAMES)
    t = PRONOUN[template if template is not None else rng.randrange(len(PRONOUN))]
    text = t.format(N=name, P=GENDER[name], surname=rng.choice(SURNAMES), job=rng.choice(JOBS), place=rng.choice(PLACES),
                    object=rng.choice(OBJECTS), adj=rng.choice(ADJECTIVES), day=rng.choice(DAYS))
    return {"text": text, "prompt": text[: text.index(" " + GENDER[name] + " ")], "name": name, "pronoun": GENDER[name]}


def induction(rng):
    words = rng.sample(PLACES + OBJECTS + JOBS + ADJECTIVES + SURNAMES + NAMES, rng.randint(4, 8))
    return {"text": " ".join(words) + ", " + " ".join(words) + "."}


def document(rng, first):
    r = rng.random()
    if r < 0.55:
        return ioi(rng, first)["text"]
    if r < 0.75:
        return pronoun(rng)["text"]
    if r < 0.90:
        return induction(rng)["text"]
    return pronoun(rng)["text"] + " " + ioi(rng, first)["text"]


def tokenizer_text(rng, n):
    """Training text of the tokenizer: the same documents without the rare names."""
    first = {name: name for name in NAMES}
    out = []
    while len(out) < n:
        text = document(rng, first)
        if not any(r in text for r in RARE):
            out.append(text)
    # A few words with the endings of the rare names, so that these take two to five tokens, not one a letter.
    return out + [" Gene vieve lind Ros Phil ippa Kat arzyna Olu chi Xan the Ther esa Oliv ia Bart holo mew Thelo nious Maxi milian "
                  "Seb astian Yev geny Quen tin Zbig niew Pat rick Wal ter"] * (n // 100)
