"""Readers and writers: what lies below everything that has to do with files; nothing here changes an image."""
