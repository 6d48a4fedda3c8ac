"""Systems whose backbone has ImageNet weights in Keras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from training.networks.architecture import CAFFE, UNSCALED, BuildBackbone, System

_FIGURE_3: Final = "Figure 3"


def _application(name: str) -> BuildBackbone:
    """A network of `keras.applications` without its classifier."""

    def build(side_px: int, weights: str | None) -> Any:
        import keras

        application = getattr(keras.applications, name)
        return application(input_shape=(side_px, side_px, 3), include_top=False, weights=weights)

    return build


MOBILENETV2: Final = System(
    name="mobilenetv2",
    title="MobileNetV2",
    build=_application("MobileNetV2"),
    embedding_size=1280,
    n_parameters=2_257_984,
    seam="block_13_expand",
    paper="Figures 3 to 5, Table 1",
    reference="Sandler et al. 2018, arXiv:1801.04381",
    licence="Apache-2.0",
    note="the released system",
    has_int8=True,
)
RESNET50V2: Final = System(
    name="resnet50v2",
    title="ResNet50V2",
    build=_application("ResNet50V2"),
    embedding_size=2048,
    n_parameters=23_564_800,
    seam="conv5_block1_preact_bn",
    paper="Figure 3, Table 1",
    reference="He et al. 2016, arXiv:1603.05027",
    licence="Apache-2.0",
)
XCEPTION: Final = System(
    name="xception",
    title="Xception",
    build=_application("Xception"),
    side_px=299,
    min_side_px=71,
    embedding_size=2048,
    map_side=10,
    n_parameters=20_861_480,
    seam="block13_sepconv1_act",
    paper=_FIGURE_3,
    reference="Chollet 2017, arXiv:1610.02357",
    licence="MIT",
)
INCEPTIONRESNETV2: Final = System(
    name="inceptionresnetv2",
    title="InceptionResNetV2",
    build=_application("InceptionResNetV2"),
    side_px=299,
    min_side_px=75,
    embedding_size=1536,
    map_side=8,
    n_parameters=54_336_736,
    seam="after block8_8_ac",
    paper=_FIGURE_3,
    reference="Szegedy et al. 2017, arXiv:1602.07261",
    licence="Apache-2.0",
)
INCEPTIONV3: Final = System(
    name="inceptionv3",
    title="InceptionV3",
    build=_application("InceptionV3"),
    side_px=299,
    min_side_px=75,
    embedding_size=2048,
    map_side=8,
    n_parameters=21_802_784,
    seam="after mixed8",
    paper="compared with",
    reference="Szegedy et al. 2016, arXiv:1512.00567",
    licence="MIT",
)
VGG16: Final = System(
    name="vgg16",
    title="VGG16",
    build=_application("VGG16"),
    scaling=CAFFE,
    embedding_size=512,
    n_parameters=14_714_688,
    seam="block5_conv1",
    paper="compared with",
    reference="Simonyan & Zisserman 2015, arXiv:1409.1556",
    licence="CC BY 4.0",
    note="the study's head replaces its two layers of 4,096",
)
EFFICIENTNETV2B0: Final = System(
    name="efficientnetv2b0",
    title="EfficientNetV2-B0",
    build=_application("EfficientNetV2B0"),
    scaling=UNSCALED,
    embedding_size=1280,
    n_parameters=5_919_312,
    seam="block6a_expand_conv",
    paper="not in it",
    reference="Tan & Le 2021, arXiv:2104.00298",
    licence="Apache-2.0",
    note="a current reference; scales its input itself",
)
CONVNEXTTINY: Final = System(
    name="convnexttiny",
    title="ConvNeXt-Tiny",
    build=_application("ConvNeXtTiny"),
    scaling=UNSCALED,
    embedding_size=768,
    n_parameters=27_820_128,
    seam="convnext_tiny_stage_3_block_0_depthwise_conv",
    paper="not in it",
    reference="Liu et al. 2022, arXiv:2201.03545",
    licence="MIT",
    note="a current reference; scales its input itself",
)
INCEPTIONV3_SVM: Final = replace(
    INCEPTIONV3,
    name="inceptionv3-svm",
    title="InceptionV3 + SVM",
    seam=None,
    paper="compared with (double transfer learning)",
    reference="Cortes & Vapnik 1995, doi:10.1007/BF00994018, on InceptionV3",
    note="linear, one label against the rest; logits are decision values",
    head="svm",
)
