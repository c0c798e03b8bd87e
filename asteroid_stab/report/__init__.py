"""One self-contained HTML page for one or several runs.

``run_data`` reads the files of a run folder, each section module turns runs into parts (pictures, tables,
players), and ``page`` puts the sections into the template. A new section is a function
``section(runs) -> Section | None``, listed in :data:`asteroid_stab.report.page.SECTIONS`.
"""
