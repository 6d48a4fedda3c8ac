"""Slides as DICOM series: files, and a DICOMweb server."""
