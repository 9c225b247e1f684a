"""How answers are drawn: engines, decoding, randomness."""
