"""Files that stand in for the one that was wanted: empty ones, Git LFS pointers and web pages."""

LONGEST_HEAD = 512
"""Bytes from the start of a file that tell what it is."""


def placeholder(content: bytes) -> str:
    """Returns what a file is instead of the one that was wanted, or "" if it may be that one.

    >>> placeholder(b" <!DOCTYPE html><html>")
    'it is a web page; download the file itself'
    """
    head = content[:LONGEST_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not content:
        return "the file is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; get the file itself with git lfs pull"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page; download the file itself"
    return ""
