"""Hooks of MkDocs: pages that are written elsewhere in the tree, and a navigation that fits what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"index.md": ROOT / "README.md", "targets.md": ROOT / "cluster" / "README.md"}
"""Page -> the file of the tree that is its source."""
REFERENCE = "reference/"
LAYERS = {
    "settings": "The schema of every configuration: each key with its type, default and meaning.",
    "data": "From corpora to batches.",
    "model": "The model, its loss, and decoding.",
    "evaluate": "From hypotheses to verdicts.",
    "train": "Steps, checkpoints, ledgers, runs, exports.",
    "sweep": "Mixes and rates, tried out.",
    "doctor": "What a machine or cluster lacks.",
    "testing": "Synthetic speech and fakes, for tests of your own.",
}
"""Package of the library -> what its page of the reference begins with; the core has one of its own."""
CORE = "The core: configuration, errors, locales, records; no Ray, no torch."
LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages whose sources stand outside of docs/, and those of the reference."""
    for name, source in PAGES.items():
        text = relinked(source.read_text(encoding="utf-8"), folder=source.parent, page=name)
        files.append(File.generated(config, name, content=text))
    for name, text in reference_pages().items():
        files.append(File.generated(config, name, content=text))
    config.nav = present(config.nav, there={file.src_uri for file in files.documentation_pages()})
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of pages in docs/ that leave it point to where their target is in the site."""
    if page.file.src_uri in PAGES or page.file.src_uri.startswith(REFERENCE):
        return markdown
    return relinked(markdown, folder=(ROOT / "docs" / page.file.src_uri).parent, page=page.file.src_uri)


def relinked(markdown: str, *, folder: Path, page: str) -> str:
    """Return Markdown whose links point into the site; of other files of the tree, their names stay."""

    def replaced(match: re.Match[str]) -> str:
        bang, text, target = match.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        name, _, anchor = target.partition("#")
        path = (folder / name).resolve()
        source = path / "README.md" if path.is_dir() else path
        known = {file: uri for uri, file in PAGES.items()}
        if source in known:
            uri = known[source]
        elif path.is_relative_to(ROOT / "docs") and path.is_file():
            uri = path.relative_to(ROOT / "docs").as_posix()
        elif path.exists():
            return f"`{path.relative_to(ROOT).as_posix()}`" if not bang else match[0]
        else:
            return match[0]  # left as it is, so that the strict build names it
        upwards = "../" * page.count("/")
        return f"{bang}[{text}]({upwards}{uri}{'#' + anchor if anchor else ''})"

    return LINK.sub(replaced, markdown)


def reference_pages() -> dict[str, str]:
    """Return a page for each package of the library, and one for the core."""
    library = ROOT / "asr_ray"
    packages = {name: text for name, text in LAYERS.items() if (library / name).is_dir()}
    pages = {f"{REFERENCE}core.md": reference("core", CORE, sorted(library.glob("[a-z]*.py")))}
    for name, text in packages.items():
        modules = sorted(path for path in (library / name).rglob("*.py") if not path.stem.startswith("_"))
        pages[f"{REFERENCE}{name}.md"] = reference(name, text, modules)
    return pages


def reference(title: str, text: str, modules: list[Path]) -> str:
    """Return the page of some modules; mkdocstrings writes what stands in them."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    return f"# {title}\n\n{text}\n\n" + "\n\n".join(f"## {name}\n\n::: {name}" for name in names) + "\n"


def present(nav: list[Any], *, there: set[str]) -> list[Any]:
    """Return the navigation without pages that are missing, and with those that it forgot."""
    used: set[str] = set()

    def kept(entries: list[Any]) -> list[Any]:
        found: list[Any] = []
        for entry in entries:
            [(title, target)] = entry.items()
            if isinstance(target, list):
                inner = kept(target)
                found += [{title: inner}] if inner else []
            elif target.endswith("/"):
                pages = sorted(name for name in there if name.startswith(target))
                used.update(pages)
                found += [{title: [{Path(name).stem: name} for name in pages]}] if pages else []
            elif target in there:
                used.add(target)
                found.append(entry)
        return found

    shown = kept(nav)
    forgotten = sorted(there - used)
    return [*shown, {"More": forgotten}] if forgotten else shown
