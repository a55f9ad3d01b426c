"""Writes the JSON of each dashboard beside this file: PYTHONPATH=files:services .venv/bin/python -m dashboards"""

from dashboards import generated

if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
