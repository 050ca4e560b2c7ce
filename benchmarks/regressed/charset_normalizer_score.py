"""charset_normalizer: the share of sentences whose encoding is guessed so that they read right."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, "src" if Path("src").is_dir() else ".")
from charset_normalizer import from_bytes

SENTENCES = json.loads(Path(__file__).with_name("sentences.json").read_text("utf-8"))

guesses = [
    str(from_bytes(sentence.encode(encoding)).best()) == sentence
    for encoding, sentences in SENTENCES.items()
    for sentence in sentences
]
score = sum(guesses) / len(guesses)
Path(os.environ["PLAYBOOKS_RESULT"]).write_text(json.dumps({"metrics": {"score": score}}))
