"""Writes every generated file: python -m docs.generate"""

from docs.generate.pages import ROOT, files

for path, text in files().items():
    (ROOT / path).write_text(text, encoding="utf-8")
