# SPDX-License-Identifier: GPL-2.0-or-later
"""The provider that QGIS lists in its Processing toolbox."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..version import plugin_version
from .alg_checkenvironment import CheckEnvironmentAlgorithm
from .alg_evaluate import EvaluateAlgorithm
from .alg_fuse import FuseAlgorithm
from .alg_landcover import LandcoverAlgorithm
from .alg_majorityfilter import MajorityFilterAlgorithm
from .alg_modelinfo import ModelInfoAlgorithm
from .alg_preparedataset import PrepareDatasetAlgorithm
from .alg_refine import RefineAlgorithm
from .alg_segment import SegmentAlgorithm
from .alg_setupenvironment import SetUpEnvironmentAlgorithm
from .alg_trainmodel import TrainModelAlgorithm
from .alg_vectorize import VectorizeAlgorithm
from .base_algorithm import BaseAlgorithm, icon, icon_path
from .graphical_models import GraphicalModel, model_files

PROVIDER_ID = "unet_segmenter"
PROVIDER_ICON = "unet_segmenter"

ALGORITHMS: tuple[type[BaseAlgorithm], ...] = (
    SegmentAlgorithm,
    LandcoverAlgorithm,
    FuseAlgorithm,
    RefineAlgorithm,
    MajorityFilterAlgorithm,
    EvaluateAlgorithm,
    VectorizeAlgorithm,
    PrepareDatasetAlgorithm,
    TrainModelAlgorithm,
    ModelInfoAlgorithm,
    CheckEnvironmentAlgorithm,
    SetUpEnvironmentAlgorithm,
)


class UnetSegmenterProvider(QgsProcessingProvider):
    """All algorithms of this plugin."""

    def id(self) -> str:
        return PROVIDER_ID

    def name(self) -> str:
        return "U-Net Segmenter"

    def longName(self) -> str:
        return f"U-Net Segmenter {plugin_version()}"

    def helpId(self) -> str:
        return PROVIDER_ID

    def versionInfo(self) -> str:
        return plugin_version()

    def icon(self) -> QIcon:
        return icon(PROVIDER_ICON)

    def svgIconPath(self) -> str:
        return icon_path(PROVIDER_ICON)

    def defaultRasterFileExtension(self) -> str:
        return "tif"

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        return ["gpkg"]

    def loadAlgorithms(self) -> None:
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
        for path in model_files():
            self.addAlgorithm(GraphicalModel(path))
