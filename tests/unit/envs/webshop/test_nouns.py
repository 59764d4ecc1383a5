"""Nouns: guessed, tagged once, kept in a file."""

import json
from fractions import Fraction
from types import SimpleNamespace

import pytest

from sdar.envs.webshop.catalogue import open_catalogue
from sdar.envs.webshop.nouns import guess_nouns, installed_model, write_noun_table
from sdar.errors import DataError


def test_a_guess_leaves_out_numbers_and_function_words():
    assert guess_nouns("2 Packs of 18oz Cups, for the Home & X") == ("packs", "cups", "home")
    assert guess_nouns("24 / 7") == ()


def test_guesses_against_the_recorded_noun_counts(shared_data):
    """`title_score` of a recorded purchase is a fraction over the number of nouns that spaCy found."""
    errors = []
    for path in sorted((shared_data / "webshop" / "human_trajs_50").glob("*.jsonl")):
        end = json.loads(path.read_text().splitlines()[-1])
        unit = Fraction(end["reward_info"]["title_score"]).limit_denominator(40).denominator
        if unit >= 7:
            guessed = len(guess_nouns(end["goal"]["name"]))
            errors.append(abs(guessed - unit * max(1, round(guessed / unit))))
    assert len(errors) == 40
    assert sum(errors) / len(errors) < 1.5


def test_a_table_replaces_guesses(tmp_path):
    tags = {"desk": "NOUN", "Arvo": "PROPN", "warm": "ADJ", "lamp": "NOUN"}

    def tag(title):
        return [SimpleNamespace(text=word, pos_=tags[word]) for word in title.split()]

    path = write_noun_table(["Arvo warm desk lamp", "lamp", "lamp"], tmp_path, tag)
    assert json.loads(path.read_text()) == {"Arvo warm desk lamp": ["arvo", "desk", "lamp"], "lamp": ["lamp"]}
    assert [file.name for file in tmp_path.iterdir()] == ["title_nouns.json"]


@pytest.mark.skipif(bool(installed_model()), reason="spaCy is installed here")
def test_tagging_needs_spacy(tmp_path):
    with pytest.raises(DataError, match="needs spaCy and its English model en_core_web_sm"):
        write_noun_table(["lamp"], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not installed_model(), reason="spaCy and an English model are not installed")
def test_spacy(shared_data, tmp_path):
    titles = [product.title for product in open_catalogue(shared_data / "webshop", 1000).products[:20]]
    assert len(json.loads(write_noun_table(titles, tmp_path).read_text())) == 20
