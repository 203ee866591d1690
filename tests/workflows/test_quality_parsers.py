"""Every language: what is right is found right, what is wrong is found where it is wrong."""

import pytest

from askonce.workflows.quality.languages import PARSERS, parser_of
from askonce.workflows.quality.parsing import parse
from askonce.workflows.quality.sheets import Parsed, Sheet
from askonce.workflows.quality.strict import READERS
from askonce.workflows.quality.trees import GRAMMARS

GOOD = {
    "bash": 'set -eu\nfor i in {1..3}; do\n  echo "$i"\ndone\ncase $1 in -h) echo x;; *) ;; esac\n',
    "c": '#include <stdio.h>\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\nint main(void) { printf("%d", MAX(1, 2)); }\n',
    "cpp": "#include <vector>\ntemplate <typename T> auto f(T&& t) -> decltype(auto) { return [&] { return t; }; }\n",
    "csharp": "namespace A.B;\npublic record P(int X, string? Y = null);\nclass C(int a) { int[] x = [1, ..y]; }\n",
    "css": "@layer base { a { color: red; &:hover { x: y } } }\n:root { --a: calc(1px * 2); }\n",
    "go": "package main\n\nfunc m[K comparable](x map[K]int) {\n\tfor i := range 10 {\n\t\t_ = i\n\t}\n}\n",
    "html": "<title>A & B</title>\n<p>a<p>b<br><ul><li>1<li>2</ul>\n<script>if (a < b) { c() }</script>\n",
    "java": "sealed interface S permits A {}\nrecord A(int x) implements S {}\nclass B { int f() { return 1; } }\n",
    "javascript": "export const f = async ({ a = 1, ...r }) => <p {...r}>{a ?? `x${a}`} it's</p>;\n",
    "json": '{"a": [1, 2.5e3, null, "\\u00e9"]}\n',
    "jsonc": '{\n  // why\n  "a": ["// no comment", 1,], /* b */\n}\n',
    "jsonl": '{"a": 1}\n\n[2]\n',
    "php": "<?php\nenum S: string { case A = 'a'; }\n$f = fn(int ...$x): int => $x[0] ?? $y?->z(a: 1);\n?>\n",
    "python": "type X[T] = list[T]\n\n\ndef f(a, /, *, b: int = 1) -> str:\n    return f\"{a!r:>{b}} {'x'}\"\n",
    "ruby": "class A < B\n  def f(a, d:, **g) = a\n  def x\n    case y\n    in {a:} if a then 1\n    end\n  end\nend\n",
    "rust": "pub async fn f<'a, const N: usize>(x: &'a [u8; N]) -> Result<(), Box<dyn E>> {\n    x.await\n}",
    "sql": "CREATE TABLE t (id INT PRIMARY KEY, n TEXT);\nWITH x AS (SELECT 1) SELECT * FROM x LIMIT 5;\n",
    "toml": '[a]\nb = { c = 1 }\nd = 1979-05-27T07:32:00Z\n[[e]]\nf = """\nx"""\n',
    "tsx": "const G = <T,>(p: P<T>) => <>{p.x as string}<A<T> b={1} /></>;\n",
    "typescript": "type M = { readonly [K in keyof T as `get${K}`]?: T[K] };\nclass X { declare a: string; }\n",
    "yaml": "on: [push]\njobs:\n  a: &a {b: c}\n  d:\n    <<: *a\n    run: ${{ x }}\n---\nx: !tag y\n",
}

# What is wrong, and the line where it is wrong.
BROKEN = [
    ("bash", "if true; then\n  echo x\n", 3),
    ("bash", "x() {\n  echo $(date\n}\n", 1),
    ("c", "int main(void) {\n  int x = 1\n  return x;\n}\n", 2),
    ("c", "int f(void) { return 1; }\nint main( {\n  return 0;\n}\n", 2),
    ("cpp", "class A {\npublic:\n  int f( { return 1; }\n};\n", 3),
    ("csharp", "class A {\n  int F() {\n    return 1\n  }\n}\n", 3),
    ("css", "a { x: y; }\nb {\n  color: red;\n\nc { x: y; }\n", 2),
    ("css", "a { x: y; }\n}\n", 2),
    ("go", "package main\n\nfunc main() {\n\tx := \n}\n", 4),
    ("go", "package main\n\nfunc main() {\n\tif x {\n\t\ty()\n}\n", 3),
    ("html", "<div>\n<p>x</b></p>\n</div>\n", 2),
    ("html", "<p>x</p>\n<div>\n<span>\n", 2),
    ("html", "<p>x</p>\n<script>\n  f(;\n</script>\n", 3),
    ("html", "<style>\n  a { color: red;\n</style>\n", 2),
    ("java", "class A {\n  int f() {\n    return 1\n  }\n}\n", 3),
    ("javascript", "const a = 1;\nfunction f( {\n  return a;\n}\n", 2),
    ("javascript", "let y = 2;\nlet x = ;\n", 2),
    ("json", '{"a": 1,\n "b": }\n', 2),
    ("json", '{"a": [1,\n2\n', 2),
    ("json", '{\n  "a": 1,\n}\n', 3),
    ("json", "{'a': 1}\n", 1),
    ("jsonc", '{\n  // why\n  "a": x\n}\n', 3),
    ("jsonl", '{"a": 1}\n{"b": }\n', 2),
    ("php", "<?php\nfunction f() {\n  return 1\n}\n", 3),
    ("python", "x = 1\ndef f(:\n    pass\n", 2),
    ("ruby", "def f\n  x = [1, 2\nend\n", 2),
    ("rust", "fn main() {\n    let x = 1\n    let y = 2;\n}\n", 2),
    ("rust", 'fn main() {\n    println!("x";\n}\n', 2),
    ("sql", "SELECT 1;\nCREATE TABLE t (id int;\n", 2),
    ("toml", "[a]\nb = \n", 2),
    ("toml", "a = 1\na = 2\n", 2),
    ("tsx", "const a = 1;\nconst A = () => <div><span></div>;\n", 2),
    ("typescript", "interface A {\n  x: string\n  y: ;\n}\n", 3),
    ("yaml", "a: b\n c: d\n", 2),
    ("yaml", "a: [1, 2\nb: 3\n", 2),
    ("yaml", "a: *b\n", 1),
]

# Right, though the grammar does not know it: nobody is sent back for these.
DOUBTFUL = [
    ("c", '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n#ifdef __cplusplus\n}\n#endif\n'),
    ("c", "int main(void) { TAILQ_FOREACH(a, &b, c) { x(); } }\n"),
    (
        "cpp",
        "class Q : public QObject {\n  Q_OBJECT\npublic:\n  explicit Q(int *p = nullptr);\nsignals:\n  void x();\n};\n",
    ),
    ("css", "@media (width >= 600px) { a { color: red } }\n"),
    ("html", "<p>1 < 2</p>\n"),
    ("sql", "INSERT OR IGNORE INTO t (n) VALUES ('a');\n"),
    ("sql", "SELECT a FROM t WHERE;\n"),
]

TEMPLATES = [
    ("yaml", "a:\n{{- if .x }}\n  b: c\n {{ end }}\n"),
    ("html", "<div>{% if x %}<p>{% endif %}</div></p>\n"),
    ("sql", "SELECT * FROM {{ ref('x') }} WHERE ((;\n"),
    ("json", '{"a": {{ x }}}\n'),
]


def parsed(parser: str, content: str, path: str = "a") -> Parsed:
    return parse(Sheet(path, parser, content))


def test_every_parser_has_a_good_and_a_broken_sample():
    assert set(GOOD) == PARSERS == {parser for parser, _, _ in BROKEN}
    assert GRAMMARS | set(READERS) == PARSERS


@pytest.mark.parametrize("parser", sorted(GOOD))
def test_what_is_right_is_found_right(parser):
    found = parsed(parser, GOOD[parser])
    assert (found.checked.state, found.findings) == ("parsed", ())


@pytest.mark.parametrize(("parser", "content", "line"), BROKEN)
def test_what_is_wrong_is_found_where_it_is_wrong(parser, content, line):
    found = parsed(parser, content)
    assert found.checked.state == "broken"
    errors = [finding for finding in found.findings if finding.severity == "error"]
    assert errors[0].line == line
    assert errors[0].column >= 1
    assert errors[0].message.endswith(".")


@pytest.mark.parametrize(("parser", "content"), DOUBTFUL)
def test_what_a_grammar_may_not_know_is_a_doubt_and_no_error(parser, content):
    found = parsed(parser, content)
    assert found.checked.state == "doubtful"
    assert {finding.severity for finding in found.findings} == {"warning"}


@pytest.mark.parametrize(("parser", "content"), TEMPLATES)
def test_a_template_is_unchecked(parser, content):
    found = parsed(parser, content)
    assert (found.checked.state, found.findings) == ("unchecked", ())
    assert "template" in found.checked.reason


def test_a_header_may_be_of_c_or_of_cpp():
    source = "namespace a {\nclass B {\npublic:\n  int f() const { return 1; }\n};\n}\n"
    assert parsed("c", source, "a.c").checked.state == "broken"
    assert parsed("c", source, "a.h").checked.state == "parsed"


def test_columns_count_characters():
    assert parsed("json", '{"é": "ü", x}').findings[0].column == 12
    assert parsed("yaml", "é: *b\n").findings[0].column == 4
    assert parsed("javascript", "let é = 'ü' + ;").findings[0].column == 13


@pytest.mark.parametrize(
    ("path", "language", "parser"),
    [
        ("src/a.py", "", "python"),
        ("a.pyi", "", "python"),
        ("a.pyx", "python", ""),
        ("a.jsx", "", "javascript"),
        ("a.mjs", "text", "javascript"),
        ("a.tsx", "typescript", "tsx"),
        ("a.mts", "", "typescript"),
        ("tsconfig.json", "json", "jsonc"),
        ("web/tsconfig.app.json", "", "jsonc"),
        (".vscode/settings.json", "", "jsonc"),
        ("package.json", "", "json"),
        ("a.json5", "json", ""),
        ("data.jsonl", "", "jsonl"),
        ("Gemfile", "", "ruby"),
        ("Cargo.lock", "", "toml"),
        ("a.h", "", "c"),
        ("a.hpp", "", "cpp"),
        ("a.zsh", "bash", ""),
        ("bin/run", "bash", "bash"),
        ("bin/run", "Python3", "python"),
        ("bin/run", "", ""),
        ("a.vue", "html", ""),
        ("README.md", "", ""),
        ("Dockerfile", "bash", ""),
    ],
)
def test_a_parser_is_found_by_path_before_tag(path, language, parser):
    assert parser_of(path, language) == parser
