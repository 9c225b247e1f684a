"""A user's own words are merged over the shipped ones; what is wrong is named."""

import json

import pytest

from groundrl.rewards import Factuality
from groundrl.rewards.factuality import load_lexicon

MINE = {
    "concepts": {
        "cell": {"synonyms": ["cell"], "countable": True, "kind": "object"},
        "pleural_effusion": {"synonyms": ["wet sulcus"]},
    },
    "anatomy": {"sulcus": {"synonyms": ["sulcus"], "within": "lung"}},
    "cues": {"negated_forward": ["sans"]},
    "exclusive": [["clear_lungs", "nodule"]],
    "spelling": {"pneumono": "pneumo"},
}


def test_words_are_added_and_the_shipped_ones_stay(facts, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(MINE))
    for source in (MINE, file, str(file)):
        lexicon = load_lexicon(source)
        assert facts("Three cells, wet sulcus, sans pneumonothorax.", lexicon) == [
            "absent pneumothorax",
            "present cell",
            "present pleural_effusion",
        ]
        assert facts("Effusion in the sulcus.", lexicon) == ["present sulcus pleural_effusion"]
        assert "nodule" in lexicon.exclusive["clear_lungs"]
    assert facts("Three cells.") == []
    assert "nodule" not in load_lexicon().exclusive["clear_lungs"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"concept": {}}, "there is no section 'concept'"),
        ({"concepts": []}, "concepts must be an object, not list"),
        ({"concepts": {"cell": ["cell"]}}, "concepts.cell must be an object"),
        ({"concepts": {"cell": {}}}, "concepts.cell.synonyms must be a list of phrases"),
        ({"concepts": {"cell": {"synonyms": "cell"}}}, "concepts.cell.synonyms must be a list of phrases"),
        ({"concepts": {"cell": {"synonyms": [""]}}}, "concepts.cell.synonyms holds ''"),
        (
            {"concepts": {"cell": {"synonyms": ["cell"], "synonym": []}}},
            "concepts.cell has the unknown field 'synonym'",
        ),
        ({"concepts": {"cell": {"synonyms": ["cell"], "kind": "thing"}}}, "concepts.cell.kind is 'thing'"),
        (
            {"concepts": {"cell": {"synonyms": ["cell"], "countable": 1}}},
            "concepts.cell.countable must be true or false",
        ),
        ({"concepts": {"cell": {"synonyms": ["cell"], "anatomy": "moon"}}}, "concepts.cell.anatomy names 'moon'"),
        ({"concepts": {"cell": {"synonyms": ["cell"], "of": 3}}}, "concepts.cell.of must be a name"),
        ({"anatomy": {"a": {"synonyms": ["a"], "within": "a"}}}, "anatomy.a lies within itself"),
        ({"cues": {"negated": ["sans"]}}, "cues.negated is not known"),
        ({"laterality": {"middle": ["mid"]}}, "laterality.middle is not known"),
        ({"exclusive": [["clear_lungs"]]}, "exclusive holds"),
        ({"exclusive": [["clear_lungs", "moon"]]}, r"exclusive \[clear_lungs, moon\] names 'moon'"),
        ({"compounds": [["moon", "normal", "normal"]]}, "names 'moon'"),
        ({"numbers": {"none": -1}}, "numbers.none must be a whole number"),
        ({"units": [3]}, "units holds 3"),
        ({"spelling": {"ae": 3}}, "spelling.ae must be a word"),
    ],
)
def test_a_wrong_entry_is_named(source, message):
    with pytest.raises(ValueError, match=message):
        Factuality(lexicon=source)


def test_a_wrong_file_is_named(tmp_path):
    file = tmp_path / "mine.json"
    with pytest.raises(ValueError, match=r"mine\.json.*cannot be read"):
        Factuality(lexicon=str(file))
    for text, message in (
        ("{", "cannot be read as JSON"),
        ("[]", "one JSON object"),
        ("[" * 100_000, "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            Factuality(lexicon=str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="cannot be read"):
        Factuality(lexicon=str(file))
