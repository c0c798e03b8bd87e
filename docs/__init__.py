"""The documentation site: pages for people, and the code that makes the other pages from the package."""
