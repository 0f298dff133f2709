# SPDX-License-Identifier: GPL-2.0-or-later
"""What the values of a mask mean and look like: colour table, QGIS style, attribute table."""

from __future__ import annotations

import html
from dataclasses import dataclass

from .model_card import UNKNOWN_VALUE, ModelClass

_REST_COLOR = "#d9d9d9"
UNKNOWN_COLOR = "#f2f2f2"


@dataclass(frozen=True)
class ClassLook:
    """A value of the mask, its name and its colour ("#rrggbb")."""

    value: int
    name: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0-255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


def legend_of(classes: tuple[ModelClass, ...]) -> tuple[ClassLook, ...]:
    """What a mask of these classes holds, in order of value.

    One class gives a binary mask: 0 not the class, 1 the class. Several give the card's values
    and 0 for "unknown", the pixels where no class reaches its threshold.
    """
    if len(classes) == 1:
        only = classes[0]
        return (
            ClassLook(0, f"not {only.name}", _REST_COLOR),
            ClassLook(1, only.name, only.color),
        )
    unknown = ClassLook(UNKNOWN_VALUE, "unknown", UNKNOWN_COLOR)
    looks = [unknown, *(ClassLook(c.value, c.name, c.color) for c in classes)]
    return tuple(sorted(looks, key=lambda look: look.value))


def colors(looks: tuple[ClassLook, ...]) -> dict[int, tuple[int, int, int, int]]:
    """RGBA by value, for a colour table."""
    return {look.value: (*look.rgb, 255) for look in looks}


def qml_style(looks: tuple[ClassLook, ...], mark: str = "") -> str:
    """A QGIS layer style: each class in its colour, and 0, no class, transparent.

    The mark, if any, is kept in a comment.
    """
    entries = "\n".join(
        f'        <paletteEntry value="{look.value}" color="{look.color}" '
        f'label="{html.escape(look.name)}" '
        f'alpha="{0 if look.value == UNKNOWN_VALUE else 255}"/>'
        for look in looks
    )
    comment = f"<!-- {mark} -->\n" if mark else ""
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
{comment}<qgis version="3.22" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency/>
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1"/>
    <huesaturation saturation="0" grayscaleMode="0"/>
    <rasterresampler maxOversampling="2"/>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""


def attribute_table(looks: tuple[ClassLook, ...], mark: str = "") -> str:
    """GDAL's side file with category names and a raster attribute table.

    The mark, if any, is kept in an item of metadata, which stays when GDAL adds statistics.
    The usages are those of GDALRATFieldUsage: 5 value, 2 name, 6 red, 7 green, 8 blue.
    """
    by_value = {look.value: look.name for look in looks}
    names = "\n".join(
        f"      <Category>{html.escape(by_value.get(value, ''))}</Category>"
        for value in range(max(by_value) + 1)
    )
    fields = "\n".join(
        f'      <FieldDefn index="{index}"><Name>{name}</Name><Type>{kind}</Type>'
        f"<Usage>{usage}</Usage></FieldDefn>"
        for index, (name, kind, usage) in enumerate(
            [("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8)]
        )
    )
    rows = "\n".join(
        f'      <Row index="{index}"><F>{look.value}</F><F>{html.escape(look.name)}</F>'
        + "".join(f"<F>{part}</F>" for part in look.rgb)
        + "</Row>"
        for index, look in enumerate(looks)
    )
    item = (
        f'  <Metadata domain="UNET_SEGMENTER"><MDI key="WRITTEN">{mark}</MDI></Metadata>\n'
        if mark
        else ""
    )
    return f"""<PAMDataset>
{item}  <PAMRasterBand band="1">
    <CategoryNames>
{names}
    </CategoryNames>
    <GDALRasterAttributeTable tableType="thematic">
{fields}
{rows}
    </GDALRasterAttributeTable>
  </PAMRasterBand>
</PAMDataset>
"""
