# SPDX-License-Identifier: GPL-2.0-or-later
"""A raster and a model for tests, made on the fly."""

from __future__ import annotations

import hashlib
import json

from osgeo import gdal, ogr, osr

gdal.UseExceptions()


def write_model(folder, name=None, **changes):
    folder.mkdir(parents=True)
    weights = b"\x08\x09"  # an ONNX file that says its version and no more
    (folder / "model.onnx").write_bytes(weights)
    names = ("vegetation", "road", "slow")
    colors = ("#228b22", "#808080", "#87ceeb")
    card = {
        "format": "unet-segmenter-card",
        "format_version": 1,
        "name": name or folder.name,
        "version": "1.2.0",
        "title": "Toy <model> & more",
        "description": "A toy for tests.",
        "license": "CC0-1.0",
        "citation": "Nobody, 2026",
        "sources": [{"title": "Toy data", "license": "CC0-1.0", "url": "https://example.org"}],
        "input": {
            "bands": ["red", "green", "blue"],
            "data_type": ["uint8"],
            "value_range": [0, 255],
            "value_scaling": {"type": "z-score", "mean": [127.0] * 3, "stddev": [64.0] * 3},
            "gsd_range": [0.02, 0.5],
        },
        "output": {
            "activation": "sigmoid",
            "classes": [
                {"value": i + 1, "name": n, "color": c, "channel": i, "threshold": 0.45}
                for i, (n, c) in enumerate(zip(names, colors))
            ],
        },
        "divisor": 16,
        "halo": 96,
        "theoretical_halo": 208,
        "tile_versus_whole": {"mask_agreement": 0.99995},
        "files": [
            {
                "name": "model.onnx",
                "format": "onnx",
                "dim_order": "nchw",
                "sha256": hashlib.sha256(weights).hexdigest(),
                "size": len(weights),
            },
            {
                "name": "model.keras",
                "format": "keras",
                "dim_order": "nhwc",
                "sha256": "0" * 64,
                "size": 5,
            },
        ],
        "training": {"data": {"name": "Toy data", "images": 3}, "epochs": 7},
        "metrics": {
            "split": "three toy sites",
            "per_class": {"vegetation": {"iou": 0.9123, "dice": 0.95}},
            "mean_iou": 0.8,
        },
        **changes,
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def write_raster(path, bands=3, epsg=32617):
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 60, 40, bands, gdal.GDT_Byte)
    dataset.SetGeoTransform((500000, 0.1, 0, 4000000, 0, -0.1))
    if epsg:
        crs = osr.SpatialReference()
        crs.ImportFromEPSG(epsg)
        dataset.SetProjection(crs.ExportToWkt())
    for band in range(1, bands + 1):
        dataset.GetRasterBand(band).Fill(40 * band)
    dataset.FlushCache()


def write_polygons(path):
    """Left half "grass", right half "tree" of the raster that `write_raster` writes, in WGS 84."""
    utm, world = osr.SpatialReference(), osr.SpatialReference()
    utm.ImportFromEPSG(32617)
    world.ImportFromEPSG(4326)
    for crs in (utm, world):
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    turn = osr.CoordinateTransformation(utm, world)
    source = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = source.CreateLayer("labels", world, ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("kind", ogr.OFTString))
    for name, west, east in (("grass", 500000, 500003), ("tree", 500003, 500006)):
        ring = ogr.Geometry(ogr.wkbLinearRing)
        for x, y in (
            *((west, 4000000), (east, 4000000), (east, 3999996), (west, 3999996)),
            (west, 4000000),
        ):
            ring.AddPoint_2D(*turn.TransformPoint(x, y)[:2])
        polygon = ogr.Geometry(ogr.wkbPolygon)
        polygon.AddGeometry(ring)
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetField("kind", name)
        feature.SetGeometry(polygon)
        layer.CreateFeature(feature)


def write_class_raster(path):
    """Grass on the left, road on the right, a speck of four pixels, and a corner without data."""
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 60, 40, 1, gdal.GDT_Byte)
    dataset.SetGeoTransform((500000, 0.1, 0, 4000000, 0, -0.1))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32617)
    dataset.SetProjection(crs.ExportToWkt())
    band = dataset.GetRasterBand(1)
    band.SetNoDataValue(255)
    table = gdal.ColorTable()
    for value, color in ((1, (0x22, 0x8B, 0x22)), (2, (0x80, 0x80, 0x80)), (3, (0, 0, 255))):
        table.SetColorEntry(value, (*color, 255))
    band.SetColorTable(table)
    band.SetCategoryNames(["", "grass", "road", "water"])
    for value, col, row, width, height in (
        *((1, 0, 0, 30, 40), (2, 30, 0, 30, 40)),
        *((3, 10, 20, 2, 2), (255, 0, 0, 5, 5)),
    ):
        band.WriteRaster(col, row, width, height, bytes([value]) * (width * height))
    dataset.FlushCache()
    return path
