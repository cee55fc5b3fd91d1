"""Digests of files, folders and code."""

import pytest

from flow.core import artifact
from flow.core.errors import MissingInput
from flow.stages import all_stages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own named as the real one, whose modules can be written."""
    root = tmp_path / "flow"
    root.mkdir()
    monkeypatch.setattr(artifact, "PACKAGE", root)
    artifact._parsed.cache_clear()

    def write(name, text):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        artifact._parsed.cache_clear()
        return root / name

    yield write
    artifact._parsed.cache_clear()


def test_text_digest_is_canonical():
    assert artifact.text_digest({"a": 1, "b": [1, 2]}) == artifact.text_digest({"b": [1, 2], "a": 1})
    assert artifact.text_digest({"a": 1}) != artifact.text_digest({"a": "1"})


def test_digest_of_a_file_is_its_content_wherever_it_lies(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two.bin"
    one.write_bytes(b"x" * 300_000)
    two.write_bytes(b"x" * 300_000)
    assert artifact.digest(one) == artifact.digest(two)
    two.write_bytes(b"x" * 299_999 + b"y")
    assert artifact.digest(one) != artifact.digest(two)
    with pytest.raises(MissingInput, match="three"):
        artifact.digest(tmp_path / "three")


def test_digest_of_a_folder_is_names_and_contents(tmp_path):
    def folder(name, files):
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return artifact.digest(tmp_path / name)

    first = folder("1", {"a/x": "1", "b": "2"})
    assert first == folder("2", {"b": "2", "a/x": "1"})
    others = [
        folder("3", {"a/x": "1", "b": "3"}), folder("4", {"a/y": "1", "b": "2"}), folder("5", {"x": "1", "b": "2"}),
        folder("6", {"a/x": "2", "b": "1"}), folder("7", {"a/x": "1", "b": "2", "c": ""}),
    ]  # fmt: skip
    assert len({first, *others}) == 6


def test_code_follows_imports_wherever_they_stand(package):
    main = package("stages/main.py", "import os\nfrom flow.a import x\n\ndef run():\n    from flow import b\n    import flow.c.d as e\n")
    package("a.py", "from flow.deep import y\nx = 1")
    package("b.py", "b = 1")
    package("c/__init__.py", "")
    package("c/d.py", "from flow.core.store import Store\nfrom flow.a import x")  # a circle would not matter either
    package("deep.py", "y = 1\nimport flow.stages.main")
    package("core/store.py", "Store = 1")
    package("other.py", "z = 1")
    assert list(artifact.code_digests(main)) == ["flow/a.py", "flow/b.py", "flow/c/d.py", "flow/deep.py", "flow/stages/main.py"]


def test_code_changes_with_an_imported_helper_only(package):
    main = package("main.py", "def run():\n    from flow.helper import f\n    return f()")
    package("helper.py", "def f():\n    return 1")
    package("other.py", "z = 1")
    before = artifact.code_digests(main)
    package("other.py", "z = 2")
    assert artifact.code_digests(main) == before
    package("helper.py", "def f():\n    return 2")
    after = artifact.code_digests(main)
    assert {name for name in before if before[name] != after[name]} == {"flow/helper.py"}


def test_package_that_is_imported_from_counts(package):
    main = package("main.py", "from flow.group import shared")
    package("group/__init__.py", "shared = 1")
    assert "flow/group/__init__.py" in artifact.code_digests(main)


WORDS = '''"""About the module."""
class A:
    """About the class."""

    def f(self):
        """Only words."""

    async def g(self, x):
        """About it."""
        return x  # a comment
'''


def test_words_about_the_code_do_not_count(package):
    main = package("main.py", WORDS)
    before = artifact.code_digests(main)
    changed = WORDS.replace("bout", "BOUT").replace("Only words", "Other words").replace("a comment", "b").replace("\n\n", "\n\n\n")
    package("main.py", changed)
    assert artifact.code_digests(main) == before
    package("main.py", WORDS.replace("return x", "return 'About it.'"))
    assert artifact.code_digests(main) != before
    package("main.py", "class A:\n    def f(self): pass\n    async def g(self, x): return x")
    assert artifact.code_digests(main) == before, "a function that was nothing but its docstring is still a function"


def test_source_of_the_package_includes_what_it_imports(package):
    plugin = package("regularizers/p.py", "from flow.helper import h")
    package("helper.py", "h = 1")
    before = artifact.source_digest(plugin)
    package("helper.py", "h = 2")
    assert artifact.source_digest(plugin) != before


def test_source_outside_is_python_without_its_words_or_bytes(package, tmp_path):
    code, data = tmp_path / "plugin.py", tmp_path / "data.csv"
    code.write_text('"""One."""\nx = 1\n')
    data.write_text("1,2")
    before = artifact.source_digest(code), artifact.source_digest(data)
    code.write_text('"""Two."""\nx = 1  # one\n')
    data.write_text("1,2 ")
    artifact._parsed.cache_clear()
    assert artifact.source_digest(code) == before[0]
    assert artifact.source_digest(data) != before[1]
    with pytest.raises(MissingInput):
        artifact.source_digest(tmp_path / "nothing")


@pytest.mark.parametrize("where", ["models/m", "models.toml/README.md.d/__pycache__/m"])
def test_source_of_a_model_ignores_its_readme_and_settings(package, tmp_path, where):
    folder = tmp_path / where
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "network.py").write_text("SIZES = ()")
    (folder / "table.csv").write_text("1")

    def now():
        artifact._parsed.cache_clear()
        return artifact.source_digest(folder)

    before = now()
    for name in ("README.md", "point.toml", "study.toml", "__pycache__/network.pyc"):
        (folder / name).write_text("x")
    assert now() == before
    (folder / "network.py").write_text("SIZES = ()  # none")
    assert now() == before
    (folder / "table.csv").write_text("2")
    assert now() != before
    between = now()
    (folder / "network.py").write_text("SIZES = (1,)")
    assert now() not in (before, between)


def test_folder_without_a_network_is_data(tmp_path):
    (tmp_path / "README.md").write_text("1")
    before = artifact.source_digest(tmp_path)
    (tmp_path / "README.md").write_text("2")
    assert artifact.source_digest(tmp_path) != before


def test_every_stage_of_the_flow_knows_its_code():
    for stage in all_stages():
        if stage.run.__module__ == f"flow.stages.{stage.id}":
            names = artifact.code_digests(artifact.PACKAGE / "stages" / f"{stage.id}.py")
            assert f"flow/stages/{stage.id}.py" in names
            assert not any(name.startswith("flow/core/") for name in names)
