"""The attributes of a whole slide image that do not depend on its pixels (PS3.3, A.32.8)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage, generate_uid

from tests.slides.mosaic import FALSE_IDS


def common_attributes(uids: tuple[str, str, str], name: str, instance: str) -> Dataset:
    """Patient, study, series, equipment, specimen, optical path; all of it made up."""
    elements = Dataset()
    elements.SpecificCharacterSet = "ISO_IR 192"
    elements.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    elements.SOPInstanceUID = instance
    elements.StudyInstanceUID, elements.SeriesInstanceUID, elements.FrameOfReferenceUID = uids
    elements.PatientName, elements.PatientID, elements.AccessionNumber = name, *FALSE_IDS[1:]
    elements.PatientBirthDate, elements.PatientSex = "19990101", "O"
    elements.StudyID, elements.SeriesNumber, elements.InstanceNumber = "1", 1, 1
    elements.StudyDate = elements.ContentDate = elements.SeriesDate = "20260101"
    elements.StudyTime = elements.ContentTime = elements.SeriesTime = "120000"
    elements.AcquisitionDateTime = "20260101120000"
    elements.ReferringPhysicianName = FALSE_IDS[0]
    elements.Modality = "SM"
    elements.Manufacturer = elements.ManufacturerModelName = "Drawn"
    elements.DeviceSerialNumber = elements.SoftwareVersions = "1"
    elements.PositionReferenceIndicator = "SLIDE_CORNER"
    elements.SamplesPerPixel, elements.BitsAllocated, elements.BitsStored = 3, 8, 8
    elements.HighBit, elements.PixelRepresentation = 7, 0
    elements.BurnedInAnnotation = "NO"
    elements.VolumetricProperties = "VOLUME"
    elements.FocusMethod, elements.ExtendedDepthOfField = "AUTO", "NO"
    elements.SpecimenLabelInImage = "NO"
    elements.ImagedVolumeDepth = 0.005
    elements.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    elements.NumberOfOpticalPaths = elements.TotalPixelMatrixFocalPlanes = 1
    elements.ContainerIdentifier = FALSE_IDS[2]
    elements.IssuerOfTheContainerIdentifierSequence = []
    elements.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    elements.AcquisitionContextSequence = []
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 20.0
    elements.TotalPixelMatrixOriginSequence = [origin]
    elements.SpecimenDescriptionSequence = [_specimen()]
    elements.OpticalPathSequence = [_optical_path()]
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    elements.DimensionOrganizationSequence = [organization]
    return elements


def functional_groups(
    elements: Dataset, spacing_mm: float | None, places: Sequence[tuple[int, int]] | None
) -> None:
    """Add the groups: shared ones, and the places of the frames if there are any."""
    shared = Dataset()
    if spacing_mm is not None:
        measures = Dataset()
        measures.PixelSpacing = [spacing_mm, spacing_mm]
        measures.SliceThickness = 0.005
        shared.PixelMeasuresSequence = [measures]
    frame_type = Dataset()
    frame_type.FrameType = elements.ImageType
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    shared.OpticalPathIdentificationSequence = [path]
    elements.SharedFunctionalGroupsSequence = [shared]
    if places is None:
        return
    elements.PerFrameFunctionalGroupsSequence = [_frame_groups(*place) for place in places]
    organization = elements.DimensionOrganizationSequence[0].DimensionOrganizationUID
    pointers = (0x0048021E, 0x0048021F)
    elements.DimensionIndexSequence = [_dimension(pointer, organization) for pointer in pointers]


def _frame_groups(column: int, row: int) -> Dataset:
    position = Dataset()
    position.XOffsetInSlideCoordinateSystem = position.YOffsetInSlideCoordinateSystem = 0.0
    position.ZOffsetInSlideCoordinateSystem = 0.0
    position.ColumnPositionInTotalImagePixelMatrix = column
    position.RowPositionInTotalImagePixelMatrix = row
    content = Dataset()
    content.DimensionIndexValues = [column, row]
    groups = Dataset()
    groups.FrameContentSequence = [content]
    groups.PlanePositionSlideSequence = [position]
    return groups


def _dimension(pointer: int, organization: str) -> Dataset:
    dimension = Dataset()
    dimension.DimensionIndexPointer = pointer
    dimension.FunctionalGroupPointer = 0x0048021A
    dimension.DimensionOrganizationUID = organization
    return dimension


def _specimen() -> Dataset:
    specimen = Dataset()
    specimen.SpecimenIdentifier = FALSE_IDS[2]
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenUID = generate_uid()
    specimen.SpecimenPreparationSequence = []
    return specimen


def _optical_path() -> Dataset:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = [_code("111744", "DCM", "Brightfield illumination")]
    path.IlluminationColorCodeSequence = [_code("414298005", "SCT", "Full Spectrum")]
    path.ICCProfile = _icc_profile()
    path.ColorSpace = "SRGB"
    path.ObjectiveLensPower = 10.0
    return path


def _icc_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
