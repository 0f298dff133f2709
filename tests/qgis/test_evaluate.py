# SPDX-License-Identifier: GPL-2.0-or-later
"""`evaluate`: what its parameters become, what it refuses, what it gives."""

from __future__ import annotations

from osgeo import ogr


def test_a_class_raster_is_compared_with_a_raster(run, stub_engine, feedback, raster, tmp_path):
    results = run(
        "evaluate",
        INPUT=raster,
        REFERENCE=raster,
        CLASS_NAMES="1=vegetation, 2=road",
        IGNORE="7, 9",
        ALIGN=True,
        HTML=str(tmp_path / "report.html"),
        CSV=str(tmp_path / "classes.csv"),
    )
    job = feedback.job()
    assert job["input"] == job["reference"] == raster
    assert job["class_names"] == ["1=vegetation", "2=road"]
    assert (job["field"], job["aoi"], job["ignore"], job["align"]) == (None, None, [7, 9], True)
    assert job["tolerance"] == 2
    assert (tmp_path / "report.html").read_text() == "html"
    assert results["CSV"] == str(tmp_path / "classes.csv")
    assert "JSON" not in results
    assert (results["MEAN_IOU"], results["OVERALL_ACCURACY"]) == (0.5, 0.75)
    assert (results["FW_IOU"], results["MCC"], results["PIXELS"]) == (0.625, 0.25, 2400)


def test_polygons_reach_the_engine_in_their_crs_with_their_field(
    run, stub_engine, feedback, raster, polygons
):
    run("evaluate", INPUT=raster, REFERENCE=polygons, FIELD="kind", AOI=polygons, HTML=None)
    job = feedback.job()
    assert job["field"] == "kind"
    source = ogr.Open(job["reference"])  # a layer does not keep its source open
    layer = source.GetLayer()
    assert layer.GetSpatialRef().GetAuthorityCode(None) == "4326"  # the engine transforms them
    assert [feature["kind"] for feature in layer] == ["grass", "tree"]
    west, east, south, north = layer.GetExtent()
    assert -81.0001 < west < east < -80.9999
    assert 36.14 < south < north < 36.15
    area = ogr.Open(job["aoi"])
    assert area.GetLayer().GetFeatureCount() == 2


def test_polygons_without_a_field_are_refused_with_the_fields_there_are(refusal, raster, polygons):
    message = refusal("evaluate", INPUT=raster, REFERENCE=polygons)
    assert "name the field of their classes in FIELD; it has fid, kind." in message
    message = refusal("evaluate", INPUT=raster, REFERENCE=polygons, FIELD="sort")
    assert message == "REFERENCE has no field 'sort'; it has fid, kind."


def test_a_reference_that_is_no_layer_is_named(refusal, raster, tmp_path):
    message = refusal("evaluate", INPUT=raster, REFERENCE=str(tmp_path / "gone.tif"))
    assert "REFERENCE" in message
    assert "gone.tif" in message


def test_values_to_ignore_must_be_numbers(refusal, raster):
    message = refusal("evaluate", INPUT=raster, REFERENCE=raster, IGNORE="one")
    assert message == "IGNORE 'one' holds something that is no number."
