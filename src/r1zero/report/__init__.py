"""Reports: run directories → one HTML page, and figures. A pure reader, never imported by training."""
