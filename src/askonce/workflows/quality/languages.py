"""Which parser a file is for: by its path, else by the tag of the block that it came in.

A file of whose language nothing is known has no parser, and is then reported as unchecked.
"""

from askonce.wire.fence_languages import extension, language_of

# Parser -> what `wire.fence_languages` and authors of fences call the languages that it reads.
_NAMES = {
    "bash": "bash sh shell shellscript",
    "c": "c",
    "cpp": "cpp c++ cc cxx",
    "csharp": "csharp c# cs",
    "css": "css",
    "go": "go golang",
    "html": "html htm xhtml",
    "java": "java",
    "javascript": "javascript js jsx node mjs cjs ecmascript",
    "json": "json ipynb geojson webmanifest",
    "jsonc": "jsonc",
    "jsonl": "jsonl ndjson",
    "php": "php",
    "python": "python py python3 py3 pyi",
    "ruby": "ruby rb",
    "rust": "rust rs",
    "sql": "sql mysql postgres postgresql plpgsql psql sqlite tsql",
    "toml": "toml",
    "tsx": "tsx",
    "typescript": "typescript ts mts cts",
    "yaml": "yaml yml",
}
_PARSERS = {name: parser for parser, names in _NAMES.items() for name in names.split()}
PARSERS = frozenset(_NAMES)

# Endings that `wire` counts to a language (it only names blocks), but that another grammar, or none of ours, reads.
_ENDINGS = {"json5": "", "jsonl": "jsonl", "ndjson": "jsonl", "pyx": "", "zsh": ""}
# JSON whose readers allow comments and trailing commas.
_COMMENTED = ("tsconfig", "jsconfig", ".eslintrc", ".babelrc", ".swcrc", "devcontainer")
_COMMENTED_FOLDERS = (".vscode/", ".devcontainer/")


def parser_of(path: str, language: str) -> str:
    """Name the parser for a file; "" where there is none. `language` is the tag of its block."""
    ending = extension(path)
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    parser = _PARSERS.get(language_of(path) or language.strip().lower(), "")
    return "jsonc" if parser == "json" and _has_comments(path) else parser


def _has_comments(path: str) -> bool:
    name = path.rpartition("/")[2]
    return (
        extension(path) == "jsonc"
        or name.startswith(_COMMENTED)
        or any(path.startswith(folder) or f"/{folder}" in path for folder in _COMMENTED_FOLDERS)
    )
