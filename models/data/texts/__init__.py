"""Text as datasets hold it: tokens, vocabularies, and the readers of lines, labelled texts, pairs and dialogues."""
