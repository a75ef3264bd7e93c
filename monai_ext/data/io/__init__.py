"""Readers and writers of files, on which all other modules build; nothing here changes an image."""
