"""One text against the knowledge base."""

import pytest

from groundrl.rewards.factuality import load_lexicon, read_facts
from groundrl.rewards.factuality.compare import fact_set
from groundrl.rewards.factuality.knowledge import inconsistencies


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("No acute cardiopulmonary abnormality. Left effusion.", ["exclusive: no_finding / pleural_effusion"]),
        ("The lungs are clear. Right consolidation.", ["exclusive: clear_lungs / consolidation"]),
        ("Heart size is normal. Cardiomegaly.", ["exclusive: cardiomegaly / normal_heart_size"]),
        ("No acute abnormality. A pacemaker is in place.", []),
        ("Bones are normal. Left effusion.", []),
        ("Pneumonia on the right. No opacity.", ["implied: pneumonia / lung_opacity"]),
        ("Pneumonia on the right. No left opacity.", []),
        ("Effusion. No effusion.", ["contradiction: pleural_effusion / pleural_effusion"]),
        ("Left effusion. No right effusion.", []),
        ("Left effusion. No effusion.", ["contradiction: pleural_effusion / pleural_effusion"]),
        ("Left effusion. No left effusion.", ["contradiction: pleural_effusion / pleural_effusion"]),
        ("Nodule in the left upper lobe. No nodule in the lower lobes.", []),
        ("A chest tube has been removed. A pacemaker is in place.", []),
        ("Fundus photograph: cardiomegaly.", ["impossible: fundus_photograph / heart"]),
        ("Chest radiograph: no retinal detachment.", ["impossible: radiograph / retina"]),
        ("Chest radiograph: cardiomegaly.", []),
        ("A small left effusion. The right effusion is loculated.", ["flip: pleural_effusion / right"]),
        ("A small left effusion. The left effusion is loculated.", []),
        ("Bilateral effusions. The right effusion is loculated.", []),
        ("A small left effusion. A right effusion. The right effusion is loculated.", []),
        ("Possible effusion. No effusion.", []),
    ],
)
def test_inconsistencies(text, found):
    lexicon = load_lexicon()
    for order in (text, " ".join(f"{each.strip()}." for each in reversed(text.strip(".").split(". ")))):
        reading = read_facts(order, lexicon)
        assert [str(each) for each in inconsistencies(reading, fact_set(reading, lexicon), lexicon)] == found
