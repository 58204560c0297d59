"""Reports: run directories and analyses → HTML pages, and figures. A pure reader, never imported by training."""
