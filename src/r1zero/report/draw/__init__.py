"""Charts as SVG and as files, and how numbers are written."""
