"""What is read from a text: sides, places, numbers, spellings, scopes."""

import pytest

from groundrl.rewards.factuality import load_lexicon, read_facts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # sides
        ("Small right effusion.", ["present right pleural_effusion"]),
        ("Left-sided effusion.", ["present left pleural_effusion"]),
        ("Bilateral effusions.", ["present left right pleural_effusion"]),
        ("Left effusion and right pneumothorax.", ["present left pleural_effusion", "present right pneumothorax"]),
        ("Effusion on the left.", ["present left pleural_effusion"]),
        ("In the left eye, microaneurysms and drusen.", ["present left drusen", "present left microaneurysm"]),
        ("Left eye: drusen; right eye: no drusen.", ["absent right drusen", "present left drusen"]),
        ("No left effusion.", ["absent left pleural_effusion"]),
        # places; that in which a concept always lies says nothing more
        ("Right upper lobe consolidation.", ["present right upper_lobe consolidation"]),
        ("Consolidation of the left lung.", ["present left consolidation"]),
        ("Opacity in the right base likely represents atelectasis.",
         ["present right lower_lobe lung_opacity", "uncertain right lower_lobe atelectasis"]),
        # attributes of places
        ("The heart is mildly enlarged.", ["present cardiomegaly"]),
        ("The heart is not enlarged.", ["absent cardiomegaly"]),
        ("Normal heart size and clear lungs.", ["present clear_lungs", "present normal_heart_size"]),
        ("The liver is normal.", ["present liver normal_part"]),
        ("Normal.", ["present normal"]),
        ("Abnormal.", []),
        # nuclei at borders
        ("One nucleus touches the left and bottom borders.", ["present bottom left border_contact", "present nucleus"]),
        ("A nucleus cut off at the top edge.", ["present nucleus", "present top border_contact"]),
        ("No nuclei touch the border.", ["absent border_contact"]),
        ("No overlapping nuclei.", ["absent overlap"]),
        # spelling and number
        ("Haemorrhages, naevi and oedema.", ["present edema", "present hemorrhage", "present nevus"]),
        ("TUMOUR CELLS WITH MITOSES", ["present mitotic_figure", "present tumor"]),
        ("A blue-white veil and cotton-wool spots.", ["present blue_white_veil", "present cotton_wool_spot"]),
        ("The patient's massive nodulectomy.", []),
        # scopes
        ("No effusion, consolidation, or\npneumothorax.",
         ["absent consolidation", "absent pleural_effusion", "absent pneumothorax"]),
        ("No effusion\nPneumothorax on the left", ["absent pleural_effusion", "present left pneumothorax"]),
        ("No effusion, possible pneumonia.", ["absent pleural_effusion", "uncertain pneumonia"]),
        ("No opacity suspicious for pneumonia.", ["absent lung_opacity", "absent pneumonia"]),
        ("No effusion, pneumonia cannot be excluded.", ["absent pleural_effusion", "uncertain pneumonia"]),
        ("Effusion is present, pneumothorax is not seen.", ["absent pneumothorax", "present pleural_effusion"]),
        ("Effusion and pneumothorax are not seen.", ["absent pleural_effusion", "absent pneumothorax"]),
        ("Effusion seen by Dr. Smith is gone.", ["absent pleural_effusion"]),
        ("History of melanoma, but no nevus today.", ["absent nevus"]),
    ],
)  # fmt: skip
def test_facts(facts, text, expected):
    assert facts(text) == expected


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Two nuclei, one touching the left border.", {"nucleus": 2, "border_contact": 1}),
        ("There are 12 small round nuclei.", {"nucleus": 12}),
        ("Five nuclei; two of them overlap.", {"nucleus": 5, "overlap": 2}),
        ("Four nuclei, three of which touch the right edge.", {"nucleus": 4, "border_contact": 3}),
        ("A single nucleus.", {"nucleus": 1}),
        ("One nucleus, touching the left border, two touching the top border.", {"nucleus": 1, "border_contact": 2}),
        ("A nucleus.", {"nucleus": None}),
        ("No nuclei.", {"nucleus": None}),
        ("A 3 cm mass and 2 nodules.", {"mass": None, "nodule": 2}),
        ("A 2.5 nodule.", {"nodule": None}),
        ("99999999 nodules.", {"nodule": None}),
        ("Two cells. Nuclei.", {"nucleus": None}),
        ("² nuclei, ９ nuclei.", {"nucleus": None}),
    ],
)
def test_numbers(text, numbers):
    assert {mention.fact.concept: mention.number for mention in read_facts(text).mentions} == numbers


def test_spans_are_those_of_the_words():
    text = "İ No large PLEURAL effusions; one nucleus touches the left border."
    said = {mention.fact.concept: text[slice(*mention.span)] for mention in read_facts(text).mentions}
    assert said == {
        "pleural_effusion": "PLEURAL effusions",
        "nucleus": "nucleus",
        "border_contact": "touches the left border",
    }


def test_all_chexpert_and_nih_observations_are_known():
    chexpert = (
        "No finding; enlarged cardiomediastinum; cardiomegaly; lung opacity; lung lesion; edema; consolidation; "
        "pneumonia; atelectasis; pneumothorax; pleural effusion; pleural other such as pleural plaque; "
        "fracture; support devices"
    )
    nih = (
        "atelectasis; cardiomegaly; effusion; infiltration; mass; nodule; pneumonia; pneumothorax; consolidation; "
        "edema; emphysema; fibrosis; pleural thickening; hernia"
    )
    assert len({mention.fact.concept for mention in read_facts(chexpert).mentions}) == 14
    assert len({mention.fact.concept for mention in read_facts(nih).mentions}) == 14


def test_no_phrase_of_the_lexicon_hides_another():
    """Every synonym is read as its own concept: none was given to two, and no cue or place swallows it."""
    import json

    from groundrl.rewards.factuality.lexicon import shipped_text

    wrong = []
    lexicon = load_lexicon()
    for name, entry in json.loads(shipped_text())["concepts"].items():
        for phrase in entry["synonyms"]:
            if [mention.fact.concept for mention in read_facts(phrase, lexicon).mentions] != [name]:
                wrong.append(phrase)
    assert wrong == []
