"""Writes `medspacy.tsv`: generated sentences with the status that medspaCy's ConText gives each finding.

medspaCy 1.3.1 pins numpy below 2, so it cannot live beside this project; in an environment of its own:

    python -m venv oracle && oracle/bin/pip install medspacy==1.3.1
    oracle/bin/python tests/rewards/factuality/medspacy_oracle.py > tests/rewards/factuality/medspacy.tsv

The cues are every rule that medspaCy ships, so that they are not this project's own choice.
"""

import random

import spacy
from medspacy.ner import TargetRule

FINDINGS = {
    "pneumonia": "pneumonia",
    "consolidation": "consolidation",
    "atelectasis": "atelectasis",
    "pneumothorax": "pneumothorax",
    "pleural effusion": "pleural_effusion",
    "cardiomegaly": "cardiomegaly",
    "pulmonary oedema": "edema",
    "emphysema": "emphysema",
    "fibrosis": "fibrosis",
    "fracture": "fracture",
    "hydrocephalus": "hydrocephalus",
    "ascites": "ascites",
    "necrosis": "necrosis",
    "dysplasia": "dysplasia",
    "adenocarcinoma": "adenocarcinoma",
    "lymphovascular invasion": "lymphovascular_invasion",
    "drusen": "drusen",
    "glaucoma": "glaucoma",
    "macular edema": "macular_edema",
    "melanoma": "melanoma",
    "psoriasis": "psoriasis",
    "ulceration": "ulceration",
}
FORWARD = [
    "{cue} {a}.",
    "{cue} {a}, {b} or {c}.",
    "There is {a}, but {cue} {b}.",
    "{cue} {a}, however there is {b}.",
    "{cue} {a} and {b}. {c} is present.",
]
BACKWARD = ["{a} {cue}.", "{a} and {b} {cue}.", "There is {c}. {a} {cue}.", "{c} is present, but {a} {cue}."]
PLAIN = ["There is {a} with {b}.", "{a} is unchanged.", "Moderate {a} and mild {b} are seen.", "{a}; {b}."]
DIRECTIONS = {"FORWARD": FORWARD, "BACKWARD": BACKWARD}
PER_RULE, PLAINS = 4, 40


def sentences(rules: list) -> list[str]:
    rng = random.Random(0)
    frames = []
    for rule in rules:
        own = DIRECTIONS.get(rule.direction.upper(), [])
        frames += [(frame, rule.literal) for frame in rng.sample(own, k=min(PER_RULE, len(own)))]
    frames += [(rng.choice(PLAIN), "") for _ in range(PLAINS)]
    made = []
    for frame, cue in frames:
        a, b, c = rng.sample(list(FINDINGS), 3)
        text = frame.format(cue=cue, a=a, b=b, c=c)
        made.append(text[0].upper() + text[1:])
    return sorted(set(made), key=made.index)


def status(span) -> str:
    if span._.is_historical or span._.is_family:
        return "dropped"
    if span._.is_negated:
        return "absent"
    return "uncertain" if span._.is_uncertain or span._.is_hypothetical else "present"


def main() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    matcher = nlp.add_pipe("medspacy_target_matcher")
    matcher.add([TargetRule(literal=phrase, category=concept) for phrase, concept in FINDINGS.items()])
    context = nlp.add_pipe("medspacy_context")
    print("sentence\tstatuses")
    for sentence in sentences(context.rules):
        doc = nlp(sentence)
        print(sentence, " ".join(f"{span.label_}={status(span)}" for span in doc.ents), sep="\t")


main()
