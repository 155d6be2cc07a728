"""Labelled pictures of what models answer, as PNG or SVG: called by tasks whose verbs answer such an ``Accept``.

- ``sheet``     small pictures of any size, each under its title, a row per input.
- ``grid``      pictures of one size in rows and columns with labels, such as samples and traversals.
- ``heat_map``  values in rows and columns with labels, such as attention; ``heat_map_svg`` the same as SVG.
- ``colours``   from values to pixels. ``canvas``: lettering and the PNG itself.

Nothing here knows of models. Pillow and the font are loaded when the first picture is drawn.
"""
