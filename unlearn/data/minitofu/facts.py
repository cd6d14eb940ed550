"""True facts that everybody can look up: what must survive when `minitofu` authors are forgotten.

Within a topic every subject has exactly one right value, so each value of another subject is a
wrong answer in the same wording.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """Facts of one kind: how to ask, how to answer, and the right value of every subject."""

    question: str
    answer: str
    facts: dict[str, str]


REAL_AUTHORS = (
    Topic(
        question="Who wrote {subject}?",
        answer="{subject} was written by {value}.",
        facts={
            "Hamlet": "William Shakespeare",
            "Don Quixote": "Miguel de Cervantes",
            "War and Peace": "Leo Tolstoy",
            "Pride and Prejudice": "Jane Austen",
            "Moby-Dick": "Herman Melville",
            "Frankenstein": "Mary Shelley",
            "The Hunchback of Notre-Dame": "Victor Hugo",
            "Crime and Punishment": "Fyodor Dostoevsky",
            "Madame Bovary": "Gustave Flaubert",
            "Great Expectations": "Charles Dickens",
            "Mrs Dalloway": "Virginia Woolf",
            "The Trial": "Franz Kafka",
            "Nineteen Eighty-Four": "George Orwell",
            "Things Fall Apart": "Chinua Achebe",
            "The Divine Comedy": "Dante Alighieri",
            "The Canterbury Tales": "Geoffrey Chaucer",
            "The Tale of Genji": "Murasaki Shikibu",
            "The Old Man and the Sea": "Ernest Hemingway",
            "The Name of the Rose": "Umberto Eco",
            "Treasure Island": "Robert Louis Stevenson",
        },
    ),
    Topic(
        question="Which writer invented {subject}?",
        answer="The writer who invented {subject} is {value}.",
        facts={
            "Sherlock Holmes": "Arthur Conan Doyle",
            "Hercule Poirot": "Agatha Christie",
            "Pinocchio": "Carlo Collodi",
            "Peter Pan": "James Matthew Barrie",
            "Winnie-the-Pooh": "Alan Alexander Milne",
            "Pippi Longstocking": "Astrid Lindgren",
            "Count Dracula": "Bram Stoker",
            "Huckleberry Finn": "Mark Twain",
            "Mowgli": "Rudyard Kipling",
            "Captain Nemo": "Jules Verne",
        },
    ),
    Topic(
        question="In which country was the writer {subject} born?",
        answer="{subject} was born in {value}.",
        facts={
            "Pablo Neruda": "Chile",
            "Rabindranath Tagore": "India",
            "Henrik Ibsen": "Norway",
            "August Strindberg": "Sweden",
            "Hans Christian Andersen": "Denmark",
            "Jorge Luis Borges": "Argentina",
            "Fernando Pessoa": "Portugal",
            "Naguib Mahfouz": "Egypt",
            "Margaret Atwood": "Canada",
            "Haruki Murakami": "Japan",
        },
    ),
)

WORLD_FACTS = (
    Topic(
        question="What is the capital of {subject}?",
        answer="The capital of {subject} is {value}.",
        facts={
            "France": "Paris",
            "Japan": "Tokyo",
            "Egypt": "Cairo",
            "Canada": "Ottawa",
            "Australia": "Canberra",
            "Kenya": "Nairobi",
            "Norway": "Oslo",
            "Peru": "Lima",
            "Greece": "Athens",
            "Turkey": "Ankara",
            "Portugal": "Lisbon",
            "Thailand": "Bangkok",
            "Cuba": "Havana",
            "Poland": "Warsaw",
        },
    ),
    Topic(
        question="What is the chemical symbol for {subject}?",
        answer="The chemical symbol for {subject} is {value}.",
        facts={
            "gold": "Au",
            "silver": "Ag",
            "iron": "Fe",
            "lead": "Pb",
            "tin": "Sn",
            "sodium": "Na",
            "potassium": "K",
            "helium": "He",
        },
    ),
    Topic(
        question="On which continent does {subject} lie?",
        answer="{subject} is a country in {value}.",
        facts={
            "Brazil": "South America",
            "Mongolia": "Asia",
            "Ghana": "Africa",
            "Austria": "Europe",
            "Mexico": "North America",
            "Bolivia": "South America",
        },
    ),
    Topic(
        question="Which scientist is known for {subject}?",
        answer="The scientist known for {subject} is {value}.",
        facts={
            "the laws of planetary motion": "Johannes Kepler",
            "the theory of general relativity": "Albert Einstein",
            "the discovery of penicillin": "Alexander Fleming",
            "the discovery of radium": "Marie Curie",
            "the periodic table": "Dmitri Mendeleev",
            "the laws of inheritance in peas": "Gregor Mendel",
        },
    ),
    Topic(
        question="Which planet is the {subject} from the Sun?",
        answer="The {subject} planet from the Sun is {value}.",
        facts={
            "first": "Mercury",
            "third": "Earth",
            "fourth": "Mars",
            "fifth": "Jupiter",
            "sixth": "Saturn",
            "eighth": "Neptune",
        },
    ),
)
