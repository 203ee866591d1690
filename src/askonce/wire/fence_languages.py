"""What is known of languages: by which extensions a file tells its own, and which tags mark prose or commands.

The tables are small on purpose. An extension that is missing here costs its file the language, and a bare name like
`notes.xyz` is then no label of a block; with a folder before it, or in the info string, it still is.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EXTENSIONS = {
    "astro": "astro",
    "bat cmd": "batch",
    "bicep": "bicep",
    "c h": "c",
    "cc cpp cxx hh hpp hxx ino": "cpp",
    "clj cljs cljc edn": "clojure",
    "cfg conf ini properties": "ini",
    "cmake": "cmake",
    "cs csx": "csharp",
    "css": "css",
    "csv tsv": "csv",
    "cu cuh": "cuda",
    "cue": "cue",
    "dart": "dart",
    "diff patch": "diff",
    "ejs": "ejs",
    "ex exs": "elixir",
    "elm": "elm",
    "erb": "erb",
    "erl hrl": "erlang",
    "f90 f95": "fortran",
    "fish": "fish",
    "frag glsl vert": "glsl",
    "fs fsi fsx": "fsharp",
    "go": "go",
    "gql graphql graphqls": "graphql",
    "gradle groovy": "groovy",
    "haml": "haml",
    "hbs mustache": "handlebars",
    "hcl tf tfvars": "hcl",
    "hs": "haskell",
    "htm html xhtml": "html",
    "http": "http",
    "ipynb json jsonl ndjson geojson webmanifest": "json",
    "json5 jsonc": "jsonc",
    "j2 jinja jinja2": "jinja",
    "java": "java",
    "cjs js mjs": "javascript",
    "jl": "julia",
    "jsx": "jsx",
    "kt kts": "kotlin",
    "less": "less",
    "lisp": "lisp",
    "lua": "lua",
    "markdown md mdx": "markdown",
    "ml mli": "ocaml",
    "mk": "makefile",
    "nim": "nim",
    "nix": "nix",
    "mm": "objective-c",
    "php": "php",
    "pl pm": "perl",
    "prisma": "prisma",
    "proto": "protobuf",
    "ps1 psm1 psd1": "powershell",
    "pug": "pug",
    "py pyi pyw pyx": "python",
    "r rmd": "r",
    "cshtml razor": "razor",
    "rb rake gemspec": "ruby",
    "rego": "rego",
    "rs": "rust",
    "rst": "rst",
    "sass": "sass",
    "scala sbt": "scala",
    "scss": "scss",
    "bash sh zsh": "bash",
    "sol": "solidity",
    "sql ddl": "sql",
    "svelte": "svelte",
    "svg": "svg",
    "swift": "swift",
    "tex bib": "latex",
    "tmpl tpl": "template",
    "toml": "toml",
    "cts mts ts": "typescript",
    "tsx": "tsx",
    "adoc txt": "text",
    "v sv": "verilog",
    "vb": "vb",
    "vhd vhdl": "vhdl",
    "vue": "vue",
    "wgsl": "wgsl",
    "csproj fsproj plist xaml xml xsd xsl": "xml",
    "yaml yml": "yaml",
    "zig": "zig",
}
LANGUAGES = {extension: language for group, language in _EXTENSIONS.items() for extension in group.split()}

# Files whose whole name says what they are. Exactly so: a heading "License" or "Readme" is a heading.
KNOWN_NAMES = {
    "BUILD": "starlark",
    "Brewfile": "ruby",
    "CMakeLists.txt": "cmake",
    "CODEOWNERS": "",
    "Caddyfile": "",
    "Cargo.lock": "toml",
    "Containerfile": "dockerfile",
    "Dockerfile": "dockerfile",
    "Gemfile": "ruby",
    "Gemfile.lock": "",
    "Jenkinsfile": "groovy",
    "Justfile": "just",
    "LICENSE": "text",
    "MANIFEST.in": "",
    "Makefile": "makefile",
    "Pipfile": "toml",
    "Procfile": "",
    "Rakefile": "ruby",
    "Tiltfile": "starlark",
    "Vagrantfile": "ruby",
    "WORKSPACE": "starlark",
    "go.mod": "go.mod",
    "go.sum": "",
    "go.work": "go.work",
    "justfile": "just",
    "makefile": "makefile",
    "poetry.lock": "toml",
    "uv.lock": "toml",
    "web.config": "xml",
    "yarn.lock": "",
}

# Names of products that look like files.
NOT_FILES = _words(
    """
    alpine.js angular.js asp.net backbone.js chart.js d3.js discord.js ember.js express.js jquery.js moment.js
    nest.js next.js node.js nuxt.js p5.js react.js socket.io three.js vb.net vue.js
    """
)

_MARKDOWN = _words("markdown md mdx gfm commonmark")
_SESSIONS = _words(
    """
    console shell-session shellsession sh-session terminal output stdout stderr result results log logs pycon
    python-repl traceback tree
    """
)
_TEXT = _words("text txt plain plaintext none nohighlight rst asciidoc adoc mermaid")
_PROSE = _MARKDOWN | _SESSIONS | _TEXT
_SHELLS = _words("bash sh shell zsh fish bat batch cmd powershell ps1 pwsh shellscript")
_EDITS = _words("diff patch udiff append search-replace")
# Formats without comments, and some whose comments do not begin with `#`: see `breaks`.
_COMMENTLESS = _words("json ipynb jsonl ndjson geojson webmanifest csv tsv")

_SLASHES = _words("cjs cs css dart go java js jsx kt kts mjs mts rs scala scss swift ts tsx zig")

# A script is longer than the commands that a model shows between its files.
_COMMANDS_LINES = 20
_TOOLS = _words(
    """
    apt apt-get brew bun bundle cargo cd cmake composer conda deno docker docker-compose dotnet flask g++ gcc git go
    java javac make mkdir mvn node npm npx php pip pip3 pnpm poetry py pytest python python3 ruby rustc source
    streamlit sudo touch ts-node tsc uv uvicorn uvx yarn
    """
)


def extension(path: str) -> str:
    """Return what follows the last dot of the path's last part, in lower case; "" if nothing does."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name.lstrip(".") else ""


def language_of(path: str) -> str:
    """Tell a file's language by its name or extension; "" if the tables do not know."""
    name = path.rpartition("/")[2]
    if name in KNOWN_NAMES:
        return KNOWN_NAMES[name]
    if name.startswith("Dockerfile."):
        return "dockerfile"
    return LANGUAGES.get(extension(name), "")


def is_markdown(language: str) -> bool:
    """Say whether fences are to be expected inside a block in this language."""
    return language in _MARKDOWN


def is_prose(language: str) -> bool:
    """Say whether a block in this language is for reading: documents, plain text, what a terminal showed."""
    return language in _PROSE


def is_edit(language: str, first_line: str) -> bool:
    """Say whether a block changes a file instead of holding it: a diff, or search and replace."""
    return language in _EDITS or first_line.startswith(("<<<<<<< SEARCH", "<<<<<<< ORIGINAL", "*** Begin Patch"))


def is_commands(language: str, lines: list[str]) -> bool:
    """Say whether a shell block only says how to install or run the rest.

    True where every line begins with a command of that trade; a shebang, or more than a screenful, is a script.
    """
    return language in _SHELLS and len(lines) <= _COMMANDS_LINES and all(map(_is_command, lines))


def _is_command(line: str) -> bool:
    word = line.split(maxsplit=1)[:1]
    if not word or word[0] in _TOOLS:
        return True
    return word[0].startswith(("$", "./", ".venv/", "venv/", "#")) and not word[0].startswith("#!")


def contradicts(language: str, path: str) -> bool:
    """Say whether a block so tagged cannot be that file: commands or output below the name of a program.

    Text is not among the tags: models tag anything `text`.
    """
    own = language_of(path)
    if language == own or own in ("", "text", "dockerfile", "ini", "makefile", "just"):
        return False
    return language in _SESSIONS or (language in _SHELLS and own not in _SHELLS)


def breaks(line: str, path: str) -> bool:
    """Say whether a comment that only names the file would break it: there are none in its format, or not with `#`."""
    own = extension(path)
    return own in _COMMENTLESS or (own in _SLASHES and line.lstrip().startswith("#"))
