"""Agreement with a reference report, and consistency, by rules: facts are read from text and compared.

It measures agreement and consistency; it cannot know the truth. Read `facts.py` (what a fact is and how it is read),
`scopes.py` (what negates it), `compare.py` (agreement of two texts), `knowledge.py` (consistency of one), then
`reward.py` (the reward). The words are data: `concepts.json`, `words.json`, `cues.json`, `knowledge.json`.
"""

from groundrl.rewards.factuality.facts import Fact, Mention, Reading, read_facts
from groundrl.rewards.factuality.lexicon import Lexicon, load_lexicon
from groundrl.rewards.factuality.reward import Factuality

__all__ = ["Fact", "Factuality", "Lexicon", "Mention", "Reading", "load_lexicon", "read_facts"]
