# SPDX-License-Identifier: GPL-2.0-or-later
"""A QGIS style for polygons of classes, to lie beside their file."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .legend import ClassLook

_OUTLINE = "35,35,35,120"


def polygon_qml(looks: Sequence[ClassLook], field: str) -> str:
    """A style that gives polygons the colour and the name of their class.

    Parameters
    ----------
    looks : sequence of ClassLook
        The classes.
    field : str
        The field that holds the value.
    """
    categories = "\n".join(
        f'      <category value="{look.value}" type="long" symbol="{k}" render="true" '
        f'label="{html.escape(look.name)}"/>'
        for k, look in enumerate(looks)
    )
    symbols = "\n".join(_symbol(k, look) for k, look in enumerate(looks))
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
  <renderer-v2 type="categorizedSymbol" attr="{html.escape(field)}">
    <categories>
{categories}
    </categories>
    <symbols>
{symbols}
    </symbols>
  </renderer-v2>
</qgis>
"""


def _symbol(name: int, look: ClassLook) -> str:
    options = {
        "color": ",".join(map(str, (*look.rgb, 255))),
        "style": "solid",
        "outline_color": _OUTLINE,
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
    }
    properties = "\n".join(
        f'            <Option name="{key}" type="QString" value="{value}"/>'
        for key, value in options.items()
    )
    # QGIS up to 3.28 reads `prop`, later ones `Option`.
    older = "\n".join(f'          <prop k="{key}" v="{value}"/>' for key, value in options.items())
    return f"""      <symbol name="{name}" type="fill" alpha="1">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
{properties}
          </Option>
{older}
        </layer>
      </symbol>"""
