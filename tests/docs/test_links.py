"""Links of a page, turned into links between pages of the site."""

import pytest

from docs.links import BrokenLinkError, for_the_site

PAGES = {
    "README.md": "docs/index.md",
    "docs/faq.md": "docs/faq.md",
    "recipes/a/README.md": "docs/recipes/a.md",
    "recipes/b/README.md": "docs/recipes/b.md",
    "conf": "docs/reference/config.rst",
}


@pytest.mark.parametrize(
    ("text", "source", "turned"),
    [
        ("[b](../b/README.md)", "recipes/a/README.md", "[b](b.md)"),
        ("[b](../b/README.md#ours)", "recipes/a/README.md", "[b](b.md#ours)"),
        ("[home](../../README.md)", "recipes/a/README.md", "[home](../index.md)"),
        ("[keys](../conf)", "docs/faq.md", "[keys](reference/config.rst)"),
        ("[a](../recipes/a/README.md), [c](faq.md)", "docs/faq.md", "[a](recipes/a.md), [c](faq.md)"),
        ("[here](#ours)", "recipes/a/README.md", "[here](#ours)"),
        ("[paper](https://arxiv.org/abs/2010.13228)", "docs/faq.md", "[paper](https://arxiv.org/abs/2010.13228)"),
        ("`[x](nowhere.md)`", "docs/faq.md", "`[x](nowhere.md)`"),
        ("```\ny[0](nowhere)\n```\n[c](faq.md)", "docs/faq.md", "```\ny[0](nowhere)\n```\n[c](faq.md)"),
    ],
)  # fmt: skip
def test_links_go_to_pages(text, source, turned):
    assert for_the_site(text, source, PAGES) == turned


def test_a_link_to_no_page_is_refused():
    with pytest.raises(BrokenLinkError, match=r"recipes/a/README.md links to toy.yaml, which is no page of the site"):
        for_the_site("[x](toy.yaml)", "recipes/a/README.md", PAGES)
