"""A page on which trained models separate a recording: ``asteroid-stab demo RUN``.

``separator`` separates, ``show`` makes the HTML with the parts of the report, ``page`` puts both into a page of Gradio
(extra ``demo``), and ``server`` serves it. Gradio is imported where it is used and nowhere else.
"""
