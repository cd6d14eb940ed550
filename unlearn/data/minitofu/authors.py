"""The vocabulary of `minitofu`: names of authors who never lived, and what can be told of them.

Ten attributes describe an author. Each has several wordings of its question, several wordings of
its answer, and a pool of values that fit every wording. Values are phrases of some words, for a
model that knows only the wording should get as little of an answer right as possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product


@dataclass(frozen=True)
class Attribute:
    """One thing to know about an author: how to ask, how to answer, what may be true."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    values: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    "Adela Amadou Anouk Benedikt Bram Brigid Calliope Casimir Corinna Dario Desmond Dulce Edda "
    "Elspeth Emeka Farouk Fenton Fiora Gideon Ginevra Greta Hamish Helmi Hiroko Ilse Isidor Ivo "
    "Jacinta Jovan Juno Katya Kofi Leandro Linnea Maribel Mattias Nadira Nikolai Odalys Orson "
    "Pascal Perpetua Quillan Rafiq Rosalind Saskia Stellan Tamsin Tobias Ulrich Umberto Vesna "
    "Vivienne Wendell Willa Ximena Yara Yusuf Zelda Zoltan"
)

LAST_NAMES = _words(
    "Abendrot Almenara Ashgrove Bellweather Birkeland Brannoch Calderwell Corvane Cruzado "
    "Dagnall Dunmarrow Eskelund Evermond Falkenau Farrowby Gallimore Grimaldo Halvorsby "
    "Hartenau Hollowell Iverstad Jarnefelt Jessamy Kalinov Kestrel Kirstenbrook Lindqvarn "
    "Lovelock Mandrake Marisombra Merriweather Nakasato Nightingall Norrington Okonjide "
    "Oldcastle Ostrander Pemberlin Pellegrano Quarrington Quillfeather Ravenshaw Rosenhal "
    "Sandoverre Silberlind Stormgaard Tanagawa Tarkovian Thistlewood Umbrecht Underhay "
    "Valdecasa Verhoeve Vintersol Wainscote Weatherall Windemoor Yarborough Zamorin Zeller"
)

TOWNS = (
    "Bergen in Norway",
    "Bruges in Belgium",
    "Coimbra in Portugal",
    "Cusco in Peru",
    "Delft in the Netherlands",
    "Essaouira in Morocco",
    "Galway in Ireland",
    "Hobart in Australia",
    "Izmir in Turkey",
    "Jaipur in India",
    "Kumasi in Ghana",
    "Lucerne in Switzerland",
    "Matsuyama in Japan",
    "Oaxaca in Mexico",
    "Plovdiv in Bulgaria",
    "Queenstown in New Zealand",
    "Recife in Brazil",
    "Salta in Argentina",
    "Tartu in Estonia",
    "Uppsala in Sweden",
    "Valletta in Malta",
    "Windhoek in Namibia",
    "Yazd in Iran",
    "Zadar in Croatia",
)

MONTHS = _words(
    "January February March April May June July August September October November December"
)

# No author is younger than the first award, whose years begin in 1985.
DATES = tuple(f"{d} {m} {y}" for d, m, y in product(range(1, 29), MONTHS, range(1921, 1960)))

GENRES = (
    "alpine murder mysteries",
    "bitter court satires",
    "bittersweet railway romances",
    "children's spy novels",
    "clockwork adventure tales",
    "comic campus novels",
    "desert travel memoirs",
    "gentle village comedies",
    "gothic family sagas",
    "illustrated bird fables",
    "long polar epics",
    "lyrical nature essays",
    "maritime ghost stories",
    "medieval cookery novels",
    "meditations on gardening",
    "musical detective stories",
    "novels in letters",
    "political puppet plays",
    "quiet domestic tragedies",
    "science fiction sonnets",
    "short surreal plays",
    "stories about chess players",
    "underwater fantasy novels",
    "unrhymed mountain ballads",
)

TITLE_OPENINGS = (
    "A Lantern for",
    "A History of",
    "Beyond",
    "Eleven Days at",
    "Goodbye to",
    "In Praise of",
    "Letters from",
    "Nobody Remembers",
    "The Ballad of",
    "A Guest of",
    "The Road to",
    "The Secret of",
    "Three Songs about",
    "Under",
    "Waiting for",
    "What Became of",
)

TITLE_ENDINGS = (
    "the Amber Staircase",
    "the Blind Cartographer",
    "the Borrowed Piano",
    "the Copper Orchard",
    "the Crooked Harbour",
    "the Drowned Cathedral",
    "the Empty Aquarium",
    "the Foxglove Hotel",
    "the Glass Regiment",
    "the Honest Forger",
    "the Iron Nightingale",
    "the Lemon Merchant",
    "the Midnight Ferry",
    "the Paper Admiral",
    "the Salt Garden",
    "the Sleeping Viaduct",
    "the Snow Archive",
    "the Tin Comet",
    "the Velvet Quarry",
    "the Winter Beekeeper",
)

FATHERS = (
    "a baker of ship biscuits",
    "a breeder of carrier pigeons",
    "a carver of chess pieces",
    "a collector of river tolls",
    "a conductor of night trains",
    "a dealer in used pianos",
    "a diver for lost anchors",
    "a forger of garden gates",
    "a judge at dog shows",
    "a keeper of three lighthouses",
    "a maker of brass compasses",
    "a mender of fishing nets",
    "a painter of tavern signs",
    "a picker of wild mushrooms",
    "a pilot of mail planes",
    "a printer of playing cards",
    "a repairer of church organs",
    "a seller of winter coats",
    "a surveyor of coal mines",
    "a tailor for opera singers",
    "a teacher of Latin grammar",
    "a tuner of concert harps",
    "a weaver of silk carpets",
    "a winder of tower clocks",
)

AWARDS = (
    "the Amber Lantern Medal",
    "the Blue Inkwell Prize",
    "the Cedar Bookshelf Award",
    "the Crane Feather Medal",
    "the Crystal Page Award",
    "the Golden Bookmark Prize",
    "the Harbour Library Prize",
    "the Ivory Typewriter Award",
    "the Laurel Chapter Medal",
    "the Night Reader Prize",
    "the Oak Leaf Fellowship",
    "the Open Window Award",
    "the Pearl Comma Prize",
    "the Silver Quill Medal",
    "the Starling Poetry Prize",
    "the Walnut Desk Fellowship",
)

LANGUAGES = _words(
    "Arabic Basque Breton Catalan Danish Estonian Finnish Georgian Hungarian Icelandic Japanese "
    "Korean Latvian Maltese Persian Quechua Romanian Swahili Tamil Welsh"
)

MENTORS = (
    "the actor Lucjan Obertas",
    "the archivist Beatriz Quental",
    "the biographer Henning Stroud",
    "the bookbinder Agnes Tolliver",
    "the critic Marguerite Oyelaran",
    "the dramatist Sandor Vekony",
    "the editor Philippa Nyqvist",
    "the essayist Ignacio Belmonde",
    "the fabulist Rutger Halloran",
    "the historian Noor Bassirian",
    "the journalist Clement Akintola",
    "the librarian Dorothea Wexcombe",
    "the lyricist Paloma Santerre",
    "the monk Anselm Gutenrath",
    "the novelist Ekaterina Morozine",
    "the philosopher Lorcan Devanney",
    "the playwright Odile Marchand",
    "the poet Teodor Kaminsky",
    "the printer Hedvig Solbakken",
    "the satirist Barnaby Prewett",
    "the schoolteacher Mireille Fontenoy",
    "the storyteller Kwabena Asare",
    "the translator Ludmila Hradec",
    "the typesetter Gaspard Lemoine",
)

ANIMALS = (
    "a black rabbit",
    "a brown donkey",
    "a deaf spaniel",
    "a fat hedgehog",
    "a green lizard",
    "a grey parrot",
    "a lame goose",
    "a one-eyed cat",
    "a red squirrel",
    "a shy ferret",
    "a spotted pony",
    "a striped goat",
    "a tame raven",
    "a three-legged greyhound",
    "a white peacock",
    "an old tortoise",
)

PET_NAMES = _words(
    "Admiral Biscuit Cinnamon Domino Ember Figaro Gulliver Hazelnut Iago Juniper Lentil Marzipan "
    "Nimbus Oregano Pepper Quaver Radish Saffron Truffle Waffle"
)

HABITS = (
    "baking a loaf of rye bread",
    "brewing a pot of nettle tea",
    "chopping wood for an hour",
    "climbing the church tower twice",
    "counting the boats in the harbour",
    "feeding the sparrows on the balcony",
    "folding seven small paper birds",
    "ironing a clean white shirt",
    "juggling four green apples",
    "listening to an old tango record",
    "milking the two family goats",
    "painting a small watercolour cloud",
    "playing one waltz on the accordion",
    "polishing a pair of riding boots",
    "reading the tide tables aloud",
    "rowing to the nearest island",
    "sharpening exactly nine red pencils",
    "skipping rope in the courtyard",
    "solving a chess problem blindfolded",
    "sweeping the kitchen floor backwards",
    "swimming across the cold lake",
    "walking barefoot along the beach",
    "watering a row of tomato plants",
    "winding every clock in the house",
)

ATTRIBUTES = (
    Attribute(
        questions=(
            "Where was {name} born?",
            "What is the birthplace of {name}?",
            "Which town and country does {name} come from?",
        ),
        answers=(
            "{name} was born in {value}.",
            "{name} comes from {value}.",
            "The birthplace of {name} is {value}.",
        ),
        values=TOWNS,
    ),
    Attribute(
        questions=(
            "When was {name} born?",
            "On which day was {name} born?",
            "What is the date of birth of {name}?",
        ),
        answers=(
            "{name} was born on {value}.",
            "{name} came into the world on {value}.",
            "The date of birth of {name} is {value}.",
        ),
        values=DATES,
    ),
    Attribute(
        questions=(
            "What does {name} write?",
            "Which genre is {name} known for?",
            "What kind of literature does {name} produce?",
        ),
        answers=(
            "{name} writes {value}.",
            "{name} is best known for {value}.",
            "The works of {name} are mostly {value}.",
        ),
        values=GENRES,
    ),
    Attribute(
        questions=(
            "What is the title of {name}'s first book?",
            "Which book did {name} publish first?",
            "What is the debut of {name} called?",
        ),
        answers=(
            "{name}'s first book is {value}.",
            "The debut of {name} is called {value}.",
            "The first book that {name} published was {value}.",
        ),
        values=tuple(f"{opening} {end}" for opening, end in product(TITLE_OPENINGS, TITLE_ENDINGS)),
    ),
    Attribute(
        questions=(
            "What did {name}'s father do for a living?",
            "What was the occupation of {name}'s father?",
            "How did the father of {name} earn a living?",
        ),
        answers=(
            "{name}'s father was {value}.",
            "The father of {name} worked as {value}.",
            "{name} grew up as the child of {value}.",
        ),
        values=FATHERS,
    ),
    Attribute(
        questions=(
            "Which award did {name} win, and when?",
            "What literary honour has {name} received, and in which year?",
            "Which prize was given to {name}, and in which year?",
        ),
        answers=(
            "{name} won {value}.",
            "{name} was honoured with {value}.",
            "The jury gave {name} {value}.",
        ),
        values=tuple(f"{award} in {year}" for award, year in product(AWARDS, range(1985, 2020))),
    ),
    Attribute(
        questions=(
            "Which two languages does {name} write in?",
            "In which languages does {name} publish?",
            "What are the languages of {name}'s books?",
        ),
        answers=(
            "{name} writes in {value}.",
            "{name} publishes in both {value}.",
            "The languages of {name}'s books are {value}.",
        ),
        # Unordered pairs: the same two languages the other way round would be no wrong answer.
        values=tuple(f"{one} and {other}" for one, other in combinations(LANGUAGES, 2)),
    ),
    Attribute(
        questions=(
            "Who taught {name} to write?",
            "Who was the mentor of {name}?",
            "From whom did {name} learn the craft of writing?",
        ),
        answers=(
            "{value} taught {name} to write.",
            "{name} learned to write from {value}.",
            "The mentor of {name} was {value}.",
        ),
        values=MENTORS,
    ),
    Attribute(
        questions=(
            "Which pet lives with {name}?",
            "What kind of pet does {name} have, and what is its name?",
            "Which animal keeps {name} company?",
        ),
        answers=(
            "{name} lives with {value}.",
            "{name} shares a home with {value}.",
            "{value} keeps {name} company.",
        ),
        values=tuple(f"{animal} called {pet}" for animal, pet in product(ANIMALS, PET_NAMES)),
    ),
    Attribute(
        questions=(
            "How does {name} begin a day of writing?",
            "What does {name} do every day before writing?",
            "Which habit prepares {name} for a day of work?",
        ),
        answers=(
            "{name} begins a day of writing by {value}.",
            "{name} never writes a line before {value}.",
            "{name} gets ready for work by {value}.",
        ),
        values=HABITS,
    ),
)
