"""Text as datasets hold it: tokens, vocabularies and the readers of files of lines and of labelled texts."""
