"""mkdocs' hooks: what the documentation links to in the repository is in the site too."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # mkdocs loads hooks by their file
    sys.path.insert(0, str(ROOT))

from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402
from mkdocs.structure.pages import Page  # noqa: E402

from tools.site.markdown import (  # noqa: E402
    ROOT_PAGES,
    for_the_site,
    place,
    source_page,
    targets,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages beside the folder, and one for every file or folder that is linked."""
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()] + [*ROOT_PAGES]
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    linked = {target for page in pages for target in targets((ROOT / page).read_text(), page)}
    for target in sorted(linked):
        path, uri = ROOT / target, place(target)
        if uri.startswith("source/") and path.exists() and path.is_relative_to(ROOT):
            files.append(File.generated(config, uri, content=source_page(path, target)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite links that leave the folder."""
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown
    return for_the_site(markdown, uri if uri in ROOT_PAGES else f"docs/{uri}")


def on_post_build(config: MkDocsConfig) -> None:
    """Leave the theme's scripts no address of another host, even for cases that we do not have.

    For diagrams in a language of their own, and for very old browsers, it would load a script.
    """
    scripts = Path(config.site_dir, "assets", "javascripts")
    for path in scripts.glob("bundle.*.js"):
        path.write_text(path.read_text().replace("https://unpkg.com/", "not-fetched/"))
    for path in scripts.rglob("*.map"):
        path.unlink()
